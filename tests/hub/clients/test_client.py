"""The real ``huggingface_hub``, in every generation, works with the embedded Hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.utils import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

from tests.hub.conftest import FILES
from tunematrix.hub.server import Server

pytestmark = pytest.mark.timeout(60)
VERSION = tuple(int(part) for part in huggingface_hub.__version__.split(".")[:2])


def read_files(folder: str) -> dict[str, bytes]:
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("repo", ["org/model", "gpt2"])
def test_a_snapshot_holds_all_files_of_the_repository(hub: Server, repo: str, tmp_path: Path) -> None:
    assert read_files(snapshot_download(repo, cache_dir=tmp_path)) == FILES
    assert hub.requests["cell-1/GET resolve"] == len([name for name, content in FILES.items() if content])


def test_a_file_is_downloaded_once_and_then_cached(hub: Server, tmp_path: Path) -> None:
    first = hf_hub_download("org/model", "sub/a b%+é.json", cache_dir=tmp_path)
    second = hf_hub_download("org/model", "sub/a b%+é.json", cache_dir=tmp_path)

    assert first == second
    assert Path(first).read_bytes() == b"{}"
    assert hub.requests["cell-1/GET resolve"] == 1


def test_the_api_describes_the_repository(hub: Server) -> None:
    api = HfApi()
    info: Any = api.model_info("org/model", files_metadata=True)
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings}

    assert info.sha == hub.repos["org/model"].commit
    assert sizes == {name: len(content) for name, content in FILES.items()}
    assert sorted(api.list_repo_files("org/model")) == sorted(FILES)
    assert [file.path for file in api.get_paths_info("org/model", ["config.json"])] == ["config.json"]
    assert api.list_repo_refs("org/model").branches[0].target_commit == info.sha
    assert api.list_repo_commits("org/model")[0].commit_id == info.sha
    assert api.repo_exists("org/model")
    assert not api.repo_exists("org/missing")
    assert api.file_exists("org/model", "config.json")
    assert not api.file_exists("org/model", "missing.json")
    assert api.whoami(token="hf_x")["name"] == "tunematrix"


@pytest.mark.parametrize(
    ("repo", "name", "revision", "error"),
    [
        ("org/missing", "config.json", "main", RepositoryNotFoundError),
        ("org/model", "missing.json", "main", EntryNotFoundError),
        ("org/model", "config.json", "v2", RevisionNotFoundError),
    ],
)
def test_missing_objects_raise_the_right_error(
    hub: Server, repo: str, name: str, revision: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        hf_hub_download(repo, name, revision=revision)


def test_a_redirect_to_a_content_delivery_network_is_followed(hub: Server, tmp_path: Path) -> None:
    hub.faults.add("redirect *:*.safetensors")

    path = hf_hub_download("org/model", "model.safetensors", cache_dir=tmp_path)

    assert Path(path).read_bytes() == FILES["model.safetensors"]


@pytest.mark.skipif(VERSION < (1, 33), reason="'hf cache verify' is new in huggingface_hub 1.33")
def test_the_client_verifies_files_with_the_ids_of_the_hub(hub: Server, tmp_path: Path) -> None:
    snapshot_download("org/model", cache_dir=tmp_path)

    assert verify_cache(tmp_path) == 0
    blob = next(path for path in tmp_path.rglob("blobs/*") if path.stat().st_size == 256_000)
    blob.write_bytes(b"\xff" + blob.read_bytes()[1:])
    assert verify_cache(tmp_path) == 1


def verify_cache(cache: Path) -> int:
    hf = Path(sys.executable).with_name("hf")
    command = [str(hf), "cache", "verify", "org/model", "--cache-dir", str(cache)]
    return subprocess.run(command, check=False, capture_output=True).returncode
