"""The pipeline's download step with the real client: files are complete and verified, or an error."""

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

    def run(repo: str = "org/model", token: str | None = None, retries: int = 2, **options: object) -> Trace:
        entry = {"repo": repo, "output_dir": str(tmp_path / "out"), **options}
        config = {"huggingface": {"token": token}, "models": [entry], "retries": retries}
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
        trace = Trace()
        cli.run(["download", "--config", str(tmp_path / "c.yaml")], trace)
        return trace

    return run


def downloaded(tmp_path: Path) -> dict[str, bytes]:
    out = tmp_path / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_exactly_the_files_of_the_repository_are_downloaded(
    hub: Server, download: Download, tmp_path: Path
) -> None:
    trace = download()

    assert downloaded(tmp_path) == FILES
    assert trace.numbers == {
        "download.fetched": len(FILES),
        "download.revision": hub.repos["org/model"].commit,
    }


def test_a_second_run_downloads_nothing(hub: Server, download: Download) -> None:
    download()
    hub.requests.clear()

    assert download().numbers["download.fetched"] == 0
    assert dict(hub.requests) == {"cell-1/GET info": 1} or "resolve" not in str(hub.requests)


def test_files_can_be_selected_by_name_pattern_and_revision(
    hub: Server, download: Download, tmp_path: Path
) -> None:
    download(files=["*.json", "empty.txt"], revision=hub.repos["org/model"].commit)

    assert set(downloaded(tmp_path)) == {"config.json", "empty.txt", "sub/a b%+é.json"}
    with pytest.raises(ConfigError, match=r"no file 'confg\.json'; did you mean 'config\.json'"):
        download(files=["confg.json"])


def test_a_damaged_file_on_disk_is_downloaded_again(hub: Server, download: Download, tmp_path: Path) -> None:
    download()
    damaged = bytearray(FILES["model.safetensors"])
    damaged[7] ^= 1
    (tmp_path / "out/model.safetensors").write_bytes(damaged)

    assert download().numbers["download.fetched"] == 1
    assert downloaded(tmp_path) == FILES


@pytest.mark.parametrize("fault", ["flip", "truncate", "shrink", "reset", "hang", "500", "503", "429"])
def test_files_are_correct_after_a_temporary_fault(
    hub: Server, download: Download, tmp_path: Path, fault: str
) -> None:
    hub.faults.add(f"{fault} x1 GET:*.safetensors")

    download()

    assert downloaded(tmp_path) == FILES


@pytest.mark.parametrize("fault", ["500", "503", "429", "reset", "truncate"])
def test_the_first_request_is_retried_after_a_temporary_fault(
    hub: Server, download: Download, tmp_path: Path, fault: str
) -> None:
    """The clients themselves give up after one request."""
    hub.faults.add(f"{fault} x1 GET:*/api/models/*")

    download()

    assert downloaded(tmp_path) == FILES


def test_a_file_that_is_always_damaged_is_an_error_and_not_kept(
    hub: Server, download: Download, tmp_path: Path
) -> None:
    """Without an error, the clients of all versions store such a file."""
    hub.faults.add("flip GET:*.safetensors")

    with pytest.raises(HubError, match=r"model\.safetensors arrived damaged: its content hash differs"):
        download()

    assert "model.safetensors" not in downloaded(tmp_path)
    assert downloaded(tmp_path)["config.json"] == FILES["config.json"]


@pytest.mark.parametrize(
    ("repo", "revision", "message"),
    [
        ("org/missing", "main", "no such repository, or a private one"),
        ("org/model", "v2", "no such revision"),
    ],
)
def test_a_wrong_name_is_an_error_without_retries(
    hub: Server, download: Download, repo: str, revision: str, message: str
) -> None:
    with pytest.raises(HubError, match=message):
        download(repo, revision=revision)

    assert sum(hub.requests.values()) == hub.requests["cell-1/GET agent-harnesses"] + 1


def test_the_token_appears_in_no_message(
    hub: Server, download: Download, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PipelineError) as error:
        download("org/missing", token="hf_verysecret")

    output = capfd.readouterr()
    assert "hf_verysecret" not in f"{error.value}{output.out}{output.err}"
    assert "hf_verysecret" not in repr(error.value.__cause__)
