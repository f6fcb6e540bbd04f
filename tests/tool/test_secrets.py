"""Canary tokens are nowhere: no file, no output, no command line, no environment but the cell's own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.hub.conftest import FILES
from tests.tool.conftest import ROOT, Sandbox
from tunematrix.hub.server import Server, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

# None of them looks like a token, so each is only known from where it stands.
TOKEN, URL_SECRET, YAML_SECRET = "hf_canary", "urlcanary", "yamlcanary"
CANARIES = [canary.encode() for canary in (TOKEN, URL_SECRET, YAML_SECRET)]
CLIENT = (
    "huggingface-hub==0.26.5\nfilelock==3.16.1\nfsspec==2024.10.0\nrequests==2.32.3\ntqdm==4.67.0\n"
    "typing-extensions==4.12.2\ncertifi==2024.8.30\ncharset-normalizer==3.4.0\nidna==3.10\nurllib3==2.2.3\n"
)
LEAKS = """
def test_leaks():
    import pathlib, subprocess, sys, warnings
    from tunematrix.harness.stages import run_stage

    token, url = os.environ["HF_TOKEN"], os.environ["HF_ENDPOINT"]
    header = repr(f"Bearer {token}\\n".encode())
    print("printed", header, url, flush=True)
    print(pathlib.Path(os.environ["TUNEMATRIX_WORKLOAD"], "download.yaml").read_text())
    os.write(2, b"in two halves: " + token[:5].encode())
    os.write(2, token[5:].encode())
    child = "import os, time; print(os.environ['HF_TOKEN'], end='', flush=True); time.sleep(1)"
    subprocess.run([sys.executable, "-c", child])
    warnings.warn(f"a warning with {token}")

    def work(trace):
        trace.add_number("leak", [header, url])
        trace.add_call_site(url, token, header)
        raise ValueError(f"Illegal header value {header} for {url}")

    run_stage("align", work)
    raise RuntimeError(f"cannot send {header} to {url}")
"""


@pytest.fixture(name="hub")
def _hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("root")
    for name, content in FILES.items():
        path = root / "tunematrix/tiny-gpt2" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with serving(root) as server:
        yield server


def with_credentials(hub: Server) -> str:
    return hub.url.replace("://", f"://someone:{URL_SECRET}@")


def files_with_canaries(*folders: Path) -> list[str]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(canary in path.read_bytes() for canary in CANARIES)]


@contextmanager
def watched_processes(allowed: int) -> Iterator[set[str]]:
    """The command lines with a canary, and those of processes that hold one but are neither a cell's nor
    the process ``allowed``."""
    found: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            for process in Path("/proc").glob("[0-9]*"):
                found.update(leak_of(process, allowed))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def leak_of(process: Path, allowed: int) -> Iterator[str]:
    try:
        command = (process / "cmdline").read_bytes()  # first: until exec, a process shows its parent's both
        environment = (process / "environ").read_bytes()
        of_allowed = Path(f"/proc/{allowed}/cmdline").read_bytes()
    except OSError:
        return  # it has ended
    if any(canary in command for canary in CANARIES):
        yield f"command line: {command!r}"
    inherited = command == of_allowed or b"TUNEMATRIX_CELL=" in environment
    if not inherited and any(canary in environment for canary in CANARIES):
        yield f"environment: {command!r}"


@pytest.mark.parametrize("token", [TOKEN, f"{TOKEN}\n"], ids=["plain", "with a line end"])
def test_a_run_leaves_no_canary(sandbox: Sandbox, hub: Server, tmp_path: Path, token: str) -> None:
    sandbox.add_cell(extra=CLIENT)
    sandbox.set_test(LEAKS)
    login = {"huggingface": {"token": YAML_SECRET}}
    (sandbox.workload / "download.yaml").write_text(yaml.safe_dump(login))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    settings = {"HF_TOKEN": token, "TUNEMATRIX_HUB": with_credentials(hub), "TMPDIR": str(temporary)}

    process = sandbox.start("run", "toy", **settings)
    with watched_processes(process.pid) as leaks:
        output, _ = process.communicate(timeout=120)
    reports = [sandbox.run(*command, **settings)[1] for command in (["report"], ["show", "toy"])]

    record = sandbox.record()
    errors = {probe["name"]: probe["error"]["message"] for probe in record["probes"] if "error" in probe}
    outcomes = {stage["name"]: stage["outcome"] for stage in record["stages"]}
    assert outcomes["download"] == "passed", output  # the client got a token that it could use
    assert errors["leaks"].startswith(f"cannot send b'Bearer ***\\n' to {record['model']['hub']}")
    assert record["model"]["hub"] == f"http://***@127.0.0.1:{hub.server_port}"
    assert "in two halves: ***" in (sandbox.results / "tiny-gpt2/toy/log.txt").read_text()
    assert files_with_canaries(sandbox.results, sandbox.constraints, temporary) == []
    assert not any(canary.decode() in text for canary in CANARIES for text in (output, *reports))
    assert leaks == set()


def test_the_watch_sees_a_leak(tmp_path: Path) -> None:
    """The test above could not fail otherwise."""
    process = subprocess.Popen([sys.executable, "-c", f"input() # {TOKEN}"], stdin=subprocess.PIPE)
    child = subprocess.Popen(["sleep", "30"], env={"HF_TOKEN": TOKEN})
    with watched_processes(process.pid) as leaks:
        while len(leaks) < 2:
            pass
    process.communicate(b"\n")
    child.kill()
    child.wait()
    (tmp_path / "log").write_text(f"a {YAML_SECRET}")

    assert {leak.split(":")[0] for leak in leaks} == {"command line", "environment"}
    assert files_with_canaries(tmp_path) == [str(tmp_path / "log")]


@pytest.mark.parametrize("token", [f"{TOKEN} {TOKEN}", f"{TOKEN}\n{TOKEN}", f"{TOKEN}\x1b[31m"])
def test_a_token_that_no_request_can_carry_is_wrong_usage(sandbox: Sandbox, hub: Server, token: str) -> None:
    sandbox.add_cell()

    code, output = sandbox.run("run", "toy", HF_TOKEN=token, TUNEMATRIX_HUB=hub.url)

    assert (code, TOKEN in output) == (2, False)
    assert "HF_TOKEN: the token has white space, control or non-ASCII characters inside" in output


@pytest.fixture(name="client", scope="module")
def _client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with a real client."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "lock.txt").write_text(f"{CLIENT}click==8.3.1\npyyaml==6.0.3\npackaging==25.0\n")
    python = folder / "venv/bin/python"
    subprocess.run(["uv", "venv", "-q", "--python", "3.11", str(folder / "venv")], check=True)
    subprocess.run(["uv", "pip", "sync", "-q", "--python", str(python), str(folder / "lock.txt")], check=True)
    return python


CONFIG = "huggingface: {token: '${HF_TOKEN}'}\nmodels: [{repo: tunematrix/tiny-gpt2, output_dir: out}]\n"


CASES = (  # the token variable, the configuration, the exit code, and a part of the output
    (TOKEN, CONFIG, 0, "all verified"),
    (f" {TOKEN}\n", CONFIG, 0, "all verified"),
    ("", CONFIG.replace("'${HF_TOKEN}'", f'"{YAML_SECRET}\\n x"'), 2, "the token has white space"),
    ("", CONFIG.replace("'${HF_TOKEN}'", YAML_SECRET), 0, "all verified"),
    ("", CONFIG.replace("'${HF_TOKEN}'}", YAML_SECRET), 2, "not YAML"),
    ("", f"token: {YAML_SECRET}: x", 2, "not YAML: mapping values are not allowed here (line 1"),
    (f"{TOKEN}\n{TOKEN}", CONFIG, 2, "the token has white space"),
    (TOKEN, CONFIG.replace("output_dir: out", "output_dir: out, revision: '${HF_TOKEN}'"), 2, "secret"),
    (TOKEN, CONFIG.replace("output_dir: out", "output_dir: out, files: ['${HF_TOKEN}']"), 2, "secret"),
    (TOKEN, CONFIG + "retries: '${HF_TOKEN}'", 2, "holds a secret, which may only stand in"),
    (TOKEN, CONFIG.replace("tiny-gpt2", "missing"), 3, "no such repository"),
    (TOKEN, CONFIG.replace("tiny-gpt2", "a/b"), 2, "not a repository id of the Hub"),
    (TOKEN, CONFIG.replace("output_dir: out", "output_dir: out, revision: nope"), 3, "no such revision"),
)


@pytest.mark.parametrize("case", CASES)
def test_the_pipeline_alone_shows_no_canary(
    client: Path, hub: Server, tmp_path: Path, case: tuple[str, str, int, str]
) -> None:
    token, config, code, message = case
    (tmp_path / "c.yaml").write_text(config)
    (tmp_path / "temporary").mkdir()
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path / "temporary"),
        "HF_ENDPOINT": with_credentials(hub),
        "HF_TOKEN": token,
        "HF_HUB_VERBOSITY": "debug",
    }
    command = [str(client), "-m", "tunematrix.pipeline", "download", "--config", "c.yaml"]

    done = subprocess.run(
        command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False, timeout=60
    )

    output = done.stdout + done.stderr
    assert (done.returncode, message in output) == (code, True), output
    assert "Traceback" not in output
    assert not any(canary.decode() in output for canary in CANARIES)
    (tmp_path / "c.yaml").unlink()
    assert files_with_canaries(tmp_path) == []
    if code == 0:
        assert (tmp_path / "out/model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_download_deletes_nothing_of_the_user(client: Path, hub: Server, tmp_path: Path) -> None:
    notes = tmp_path / "out/.incoming/notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    (tmp_path / "c.yaml").write_text(CONFIG)
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path),
    }
    command = [str(client), "-m", "tunematrix.pipeline", "download", "--config", "c.yaml"]

    subprocess.run(command, cwd=tmp_path, env=variables, check=True, timeout=60)

    assert notes.read_text() == "mine"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".incoming",
        *(name.split("/")[0] for name in FILES),
    }
