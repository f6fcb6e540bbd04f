"""Which files the Hub serves, under which ids, and what it reports instead."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.hub.raw import ask, get
from tunematrix.hub import store
from tunematrix.hub.server import serving
from tunematrix.hub.store import index_root


@pytest.fixture(name="repo")
def _repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "root/org/model")


@pytest.fixture(name="root")
def _root(repo: Path) -> Path:
    return repo.parents[1]


def make_repo(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def reported(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


# Files and links


def test_hidden_files_are_not_served(repo: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repo / ".git").mkdir()
    (repo / ".git/config").write_text("x")
    (repo / ".lock").write_text("x")
    make_repo(root / ".part/model")
    make_repo(root / "org/.hidden")

    repos = index_root(root)

    assert {name: list(found.files) for name, found in repos.items()} == {"org/model": ["config.json"]}
    assert not reported(capsys)


def test_links_inside_of_the_root_are_served(
    repo: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a cache of ``huggingface_hub``, whose files are links to ``blobs``."""
    (root / "blobs").mkdir()
    (root / "blobs/0a1b").write_bytes(b"weights")
    (repo / "model.safetensors").symlink_to("../../blobs/0a1b")
    (root / "alias").symlink_to("org/model", target_is_directory=True)

    repos = index_root(root)
    with serving(root) as hub:
        answer = ask(hub, get("/alias/resolve/main/model.safetensors"))

    assert sorted(repos) == ["alias", "org/model"]
    assert repos["alias"].commit == repos["org/model"].commit
    assert repos["alias"].files["model.safetensors"].sha256
    assert answer.body == b"weights"
    assert not reported(capsys)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("{outside}/secret", "it leads to '{outside}/secret', outside of '{root}'"),
        ("../../../secret", "it leads to '{outside}/secret', outside of '{root}'"),
        ("missing", "a link that leads to nothing"),
        ("link.json", "a link that leads to nothing"),
        ("..", "not a file"),
        ("/dev/null", "it leads to '/dev/null', outside of '{root}'"),
    ],
)
def test_other_links_are_reported_at_start(
    repo: Path, root: Path, capsys: pytest.CaptureFixture[str], target: str, reason: str
) -> None:
    outside = root.parent
    (outside / "secret").write_text("x")
    (repo / "link.json").symlink_to(target.format(outside=outside))

    assert list(index_root(root)["org/model"].files) == ["config.json"]
    assert reported(capsys) == [
        f"not served: '{repo}/link.json': {reason.format(outside=outside, root=root)}"
    ]


@pytest.mark.parametrize("link", ["model", "org2"])
def test_a_folder_outside_of_the_root_is_not_served(
    root: Path, capsys: pytest.CaptureFixture[str], link: str
) -> None:
    outside = make_repo(root.parent / "private/model")
    (root / link).symlink_to(outside if link == "model" else outside.parent, target_is_directory=True)

    assert list(index_root(root)) == ["org/model"]
    assert f"it leads to '{outside}', outside of '{root}'" in reported(capsys)[0]


def test_a_root_that_is_a_link_is_served(root: Path) -> None:
    link = root.with_name("link")
    link.symlink_to(root, target_is_directory=True)

    assert list(index_root(link)["org/model"].files) == ["config.json"]


@pytest.mark.parametrize("name", [b"\xff.json", b"a\nb.json", b"\x1b[31m.json"])
def test_a_name_that_cannot_be_printed_is_reported(
    repo: Path, root: Path, capsys: pytest.CaptureFixture[str], name: bytes
) -> None:
    Path(os.fsdecode(bytes(repo) + b"/" + name)).write_text("x")
    make_repo(Path(os.fsdecode(bytes(root) + b"/" + name)))

    repos = index_root(root)

    assert {name: list(found.files) for name, found in repos.items()} == {"org/model": ["config.json"]}
    assert [line.endswith("its name has characters that cannot be printed") for line in reported(capsys)] == [
        True,
        True,
    ]


def test_what_is_not_a_file_or_not_readable_is_reported(
    repo: Path, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(repo / "pipe")
    (repo / "secret.json").write_text("x")
    hash_file = store.hash_file

    def refuse(path: Path) -> store.Blob:
        if path.name == "secret.json":
            raise PermissionError(13, "Permission denied")
        return hash_file(path)

    monkeypatch.setattr(store, "hash_file", refuse)

    assert list(index_root(root)["org/model"].files) == ["config.json"]
    assert reported(capsys) == [
        f"not served: '{repo}/pipe': not a file",
        f"not served: '{repo}/secret.json': Permission denied",
    ]


# The cache of ids


def test_ids_are_cached_until_a_file_changes(repo: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = index_root(root)["org/model"].commit
    monkeypatch.setattr(store, "hash_file", None)

    assert index_root(root)["org/model"].commit == first
    (repo / "config.json").write_text("{ }")
    with pytest.raises(TypeError):
        index_root(root)


def test_a_name_with_a_bar_is_cached(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (make_repo(root / "a|b") / "x|1|2.safetensors").write_bytes(b"weights")
    first = index_root(root)["a|b"]
    monkeypatch.setattr(store, "hash_file", None)
    with serving(root) as hub:
        answer = ask(hub, get("/a%7Cb/resolve/main/x%7C1%7C2.safetensors"))

    assert index_root(root)["a|b"].files == first.files
    assert answer.body == b"weights"


def test_the_cache_forgets_files_that_are_gone(repo: Path, root: Path) -> None:
    for text in ("a", "ab", "abc"):
        (repo / "other.json").write_text(text)
        index_root(root)

    assert len(json.loads((root / ".hashes.json").read_text())) == 2


ID = "0" * 40
WRONG_CACHES = [
    b"[]",
    b"5",
    b"null",
    b'{"KEY": 5}',
    b'{"KEY": "abcd"}',
    b'{"KEY": [1, 2, 3]}',
    b'{"KEY": {"a": 1, "b": 2, "c": 3}}',
    b'{"KEY": ["0", null, 0]}',
    f'{{"KEY": ["{ID}\\r\\n", null, 0]}}'.encode(),
    f'{{"KEY": ["{ID}", "0", 0]}}'.encode(),
    f'{{"KEY": ["{ID}", null, "0"]}}'.encode(),
    f'{{"KEY": [2, "{ID}", null, 0]}}'.encode(),  # of an older version
    b"\xff\xfe",
    b"[" * 100_000,
    b"9" * 5000,
    b"",
]


@pytest.mark.parametrize("content", WRONG_CACHES)
def test_a_damaged_cache_is_ignored_and_made_anew(root: Path, content: bytes) -> None:
    cache = root / ".hashes.json"
    expected = index_root(root)["org/model"].files
    saved = cache.read_bytes()
    (key,) = json.loads(saved)
    cache.write_bytes(content.replace(b"KEY", key.encode()))

    assert index_root(root)["org/model"].files == expected
    assert cache.read_bytes() == saved


def test_a_cache_that_cannot_be_written_is_no_error(root: Path) -> None:
    (root / ".hashes.json").mkdir()

    assert list(index_root(root)) == ["org/model"]
