"""Our download step with the real client: whole and verified, or told and nothing kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.hub.conftest import FILES
from tunematrix.hub.server import Server
from tunematrix.pipeline import cli
from tunematrix.pipeline.errors import ConfigError, HubError, PipelineError
from tunematrix.pipeline.trace import Trace

pytestmark = pytest.mark.timeout(120)
Download = Callable[..., Trace]


@pytest.fixture(name="download")
def _download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    monkeypatch.setattr("time.sleep", lambda _: None)

    def run(repo: str = "org/model", token: str | None = None, retries: int = 2, **wanted: object) -> Trace:
        entry = {"repo": repo, "output_dir": str(tmp_path / "out"), **wanted}
        config = {"huggingface": {"token": token}, "models": [entry], "retries": retries}
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
        traced = Trace()
        cli.run(["download", "--config", str(tmp_path / "c.yaml")], traced)
        return traced

    return run


def content(tmp_path: Path) -> dict[str, bytes]:
    out = tmp_path / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_whole_repository_arrives_and_nothing_else(
    hub: Server, download: Download, tmp_path: Path
) -> None:
    traced = download()

    assert content(tmp_path) == FILES
    assert traced.numbers == {
        "download.fetched": len(FILES),
        "download.revision": hub.repos["org/model"].commit,
    }


def test_a_second_run_downloads_nothing(hub: Server, download: Download) -> None:
    download()
    hub.requests.clear()

    assert download().numbers["download.fetched"] == 0
    assert dict(hub.requests) == {"cell-1/GET info": 1} or "resolve" not in str(hub.requests)


def test_names_patterns_and_revisions(hub: Server, download: Download, tmp_path: Path) -> None:
    download(files=["*.json", "empty.txt"], revision=hub.repos["org/model"].commit)

    assert set(content(tmp_path)) == {"config.json", "empty.txt", "sub/a b%+é.json"}
    with pytest.raises(ConfigError, match=r"no file 'confg\.json'; did you mean 'config\.json'"):
        download(files=["confg.json"])


def test_a_damaged_file_on_disk_is_fetched_again(hub: Server, download: Download, tmp_path: Path) -> None:
    download()
    damaged = bytearray(FILES["model.safetensors"])
    damaged[7] ^= 1
    (tmp_path / "out/model.safetensors").write_bytes(damaged)

    assert download().numbers["download.fetched"] == 1
    assert content(tmp_path) == FILES


@pytest.mark.parametrize("fault", ["flip", "truncate", "reset", "503", "429"])
def test_a_passing_fault_leaves_the_right_bytes(
    hub: Server, download: Download, tmp_path: Path, fault: str
) -> None:
    hub.faults.add(f"{fault} x1 GET:*.safetensors")

    download()

    assert content(tmp_path) == FILES


@pytest.mark.parametrize("fault", ["503", "429", "reset"])
def test_a_passing_fault_of_the_first_question_is_tried_again(
    hub: Server, download: Download, tmp_path: Path, fault: str
) -> None:
    """No client does: it gives up after one request."""
    hub.faults.add(f"{fault} x1 GET:*/api/models/*")

    download()

    assert content(tmp_path) == FILES


def test_bytes_that_never_come_right_are_told_and_not_kept(
    hub: Server, download: Download, tmp_path: Path
) -> None:
    """The clients of all versions store such a file and never notice."""
    hub.faults.add("flip GET:*.safetensors")

    with pytest.raises(HubError, match=r"model\.safetensors arrived damaged: its content hash differs"):
        download()

    assert "model.safetensors" not in content(tmp_path)
    assert content(tmp_path)["config.json"] == FILES["config.json"]


@pytest.mark.parametrize(
    ("repo", "revision", "words"),
    [("org/none", "main", "no such repository, or a private one"), ("org/model", "v2", "no such revision")],
)
def test_a_wrong_name_is_told_at_once(
    hub: Server, download: Download, repo: str, revision: str, words: str
) -> None:
    with pytest.raises(HubError, match=words):
        download(repo, revision=revision)

    assert sum(hub.requests.values()) == hub.requests["cell-1/GET agent-harnesses"] + 1


def test_the_token_is_sent_but_never_told(
    hub: Server, download: Download, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PipelineError) as told:
        download("org/none", token="hf_verysecret")

    shown = capfd.readouterr()
    assert "hf_verysecret" not in f"{told.value}{shown.out}{shown.err}"
    assert "hf_verysecret" not in repr(told.value.__cause__)
