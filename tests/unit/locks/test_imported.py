"""Cells from an existing environment: pins are kept, and moved pins are reported."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.locks import imported, lock, table, uv

UvResult = tuple[int, str, str]
NO_SOLUTION = "  x No solution found when resolving dependencies:"
UvCalls = list[list[str]]
FakeUv = Callable[..., UvCalls]
MATRIX = 'schema = 1\n# a comment\n[[cell]]\nname = "old"\n[cell.pins]\ntrl = "1.0"\n'


@pytest.fixture(name="fake_uv")
def _fake_uv(monkeypatch: pytest.MonkeyPatch) -> FakeUv:
    """Make ``uv.compile`` return results in turn; the calls list requirements, ``<constraint>``s, options."""
    calls: UvCalls = []
    monkeypatch.setenv("UV_FIND_LINKS", "/no/such/folder")

    def install(*results: UvResult) -> UvCalls:
        remaining = list(results)

        def fake_compile(requirements: list[str], constraints: list[str], options: list[str]) -> object:
            backend = [option for option in options if option == "--torch-backend"]
            calls.append([*requirements, *(f"<{line}>" for line in constraints), *backend])
            return subprocess.CompletedProcess([], *remaining.pop(0))

        monkeypatch.setattr(uv, "compile", fake_compile)
        return calls

    return install


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


TOOLS_LOCK = "".join(f"{name}==1.0\n" for name in lock.TEST_TOOLS)
REQUIREMENTS = """\
# ours
trl==1.0  # pinned
transformers[torch] >=4,<5 ; python_version >= "3.9"
tomli==2.0 ; python_version < "3.11"
torch==2.8.0+cu121 \\
    --hash=sha256:00
nvidia-cublas-cu12==1.0
-e git+https://user:hf_canary@host/ours.git#egg=ours
other @ https://host/other.whl
--extra-index-url https://host
"""


def test_requirements_are_read_with_markers_hashes_and_builds(tmp_path: Path, fake_uv: FakeUv) -> None:
    calls = fake_uv((0, f"trl==1.0\ntransformers==4.9\ntorch==2.8.0+cpu\nnumpy==2\n{TOOLS_LOCK}", ""))

    result = imported.import_lock(write(tmp_path, "requirements.txt", REQUIREMENTS), "3.11")

    assert calls[0][:3] == ["trl==1.0", "transformers[torch]<5,>=4", "torch==2.8.0"]
    assert calls[0][3:-1] == list(lock.TEST_TOOLS)
    assert result.left_out == ("git+https://host/ours.git#egg=ours", "other", "nvidia-cublas-cu12")
    assert result.added == tuple(sorted(["numpy", *lock.TEST_TOOLS]))
    assert result.moved == {}
    assert "torch==2.8.0+cpu\n" in result.text


def test_pins_that_the_resolver_refuses_are_kept(tmp_path: Path, fake_uv: FakeUv) -> None:
    calls = fake_uv((1, "", NO_SOLUTION), (0, TOOLS_LOCK, ""))

    result = imported.import_lock(write(tmp_path, "freeze.txt", "trl==1.0\ntransformers==4.9\n"), "3.11")

    assert calls[1][-3:-1] == ["<trl==1.0>", "<transformers==4.9>"]
    assert result.packages["trl"] == "1.0"
    assert result.moved == {}


def test_a_pin_that_moves_for_the_test_tools_is_reported(tmp_path: Path, fake_uv: FakeUv) -> None:
    fake_uv((1, "", NO_SOLUTION), (1, "", NO_SOLUTION), (0, f"{TOOLS_LOCK}pluggy==1.6\n", ""))

    result = imported.import_lock(write(tmp_path, "freeze.txt", "trl==1.0\npluggy==0.13\n"), "3.11")

    assert result.moved == {"pluggy": ("0.13", "1.6")}
    assert result.packages["pluggy"] == "1.6"


def test_ranges_that_do_not_resolve_raise_uvs_message(tmp_path: Path, fake_uv: FakeUv) -> None:
    fake_uv((1, "", f"{NO_SOLUTION} because trl needs transformers>=5"))

    with pytest.raises(UnresolvableError, match="because trl needs transformers>=5"):
        imported.import_lock(write(tmp_path, "requirements.txt", "trl==1.0\ntransformers<5\n"), "3.11")


def test_a_network_failure_is_not_unresolvable(tmp_path: Path, fake_uv: FakeUv) -> None:
    fake_uv((1, "", "error: Failed to fetch: dns error"))

    with pytest.raises(InfrastructureError):
        imported.import_lock(write(tmp_path, "requirements.txt", "trl==1.0\n"), "3.11")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A constraints folder; the files to import are beside it."""
    folder = tmp_path / "constraints"
    folder.mkdir()
    write(folder, "matrix.toml", MATRIX)
    return folder


def import_cell(folder: Path, source: Path, name: str, *, force: bool = False) -> table.Cell:
    return imported.import_cell(table.load(folder), source, name, force=force)[0]


def test_importing_adds_one_entry_and_keeps_comments(folder: Path, fake_uv: FakeUv) -> None:
    fake_uv((0, f"trl==1.0\n{TOOLS_LOCK}", ""))
    source = write(folder.parent, "ours.txt", "trl==1.0\n")

    cell = import_cell(folder, source, "ours")

    matrix = table.load(folder)
    assert matrix.cells[-1] == cell
    assert cell.imported_from == "ours.txt"
    assert (folder / "matrix.toml").read_text().startswith(MATRIX)
    assert lock.stale_reason(cell, matrix.lock_path(cell)) is None
    assert not lock.is_edited(matrix.lock_path(cell))
    with pytest.raises(UsageError, match=r"ours: its lock is imported from ours\.txt and cannot be remade"):
        lock.write(cell, matrix.lock_path(cell))


def test_importing_again_replaces_the_lock_and_the_pins(folder: Path, fake_uv: FakeUv) -> None:
    fake_uv((0, f"trl==1.0\npeft==0.1\n{TOOLS_LOCK}", ""), (0, f"trl==1.1\n{TOOLS_LOCK}", ""))
    import_cell(folder, write(folder.parent, "ours.txt", "trl==1.0\npeft\n"), "ours")
    path = folder / "matrix.toml"
    path.write_text(path.read_text().replace('why = "imported from ours.txt"', 'why = "mine"  # note'))

    import_cell(folder, write(folder.parent, "newer.txt", "trl==1.1\n"), "ours")

    cell = table.load(folder).cells[-1]
    assert (cell.pins, cell.why, cell.imported_from) == ({"trl": "1.1"}, "mine", "newer.txt")
    assert len(table.load(folder).cells) == 2
    assert "# note" in path.read_text()
    assert "trl==1.1\n" in (folder / "ours.txt").read_text()
    assert lock.stale_reason(cell, folder / "ours.txt") is None


def test_a_cell_without_the_stack_can_be_imported_and_read_again(folder: Path, fake_uv: FakeUv) -> None:
    fake_uv((0, f"click==8.1.8\n{TOOLS_LOCK}", ""))

    cell = import_cell(folder, write(folder.parent, "r.txt", "click==8.1.8\n"), "plain")

    assert table.load(folder).cell("plain") == cell
    assert cell.pins == {}


def test_an_imported_cell_is_not_held_to_the_default_torch(folder: Path, fake_uv: FakeUv) -> None:
    fake_uv((0, f"trl==1.0\ntorch==2.8.0\n{TOOLS_LOCK}", ""))
    path = folder / "matrix.toml"
    path.write_text(MATRIX + '[defaults]\ntorch = "2.13.0"\n')

    cell = import_cell(folder, write(folder.parent, "r.txt", "trl==1.0\ntorch==2.8.0\n"), "ours")

    assert lock.stale_reason(table.load(folder).cell("ours"), folder / "ours.txt") is None
    assert "torch" not in cell.pins


def test_a_matrix_that_cannot_be_edited_is_refused_before_anything_is_written(
    folder: Path, fake_uv: FakeUv
) -> None:
    fake_uv((0, f"trl==1.0\n{TOOLS_LOCK}", ""))
    text = 'schema = 1\ncell = [{name = "old", pins = {trl = "1.0"}}]\n'
    write(folder, "matrix.toml", text)

    with pytest.raises(UsageError, match="cannot be edited because of how its cells are written"):
        import_cell(folder, write(folder.parent, "r.txt", "trl==1.0\n"), "ours")

    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("matrix.toml", text)]


@pytest.mark.parametrize("with_matrix", [True, False])
@pytest.mark.parametrize("name", ["ours", "notes", "requirements"])
def test_a_file_that_no_import_wrote_is_overwritten_only_with_force(
    folder: Path, fake_uv: FakeUv, name: str, *, with_matrix: bool
) -> None:
    """The source itself, notes, and a requirements file in the folder of the locks."""
    fake_uv((0, f"trl==1.0\n{TOOLS_LOCK}", ""))
    path = write(folder, f"{name}.txt", "trl==1.0\n")
    source = path if name == "ours" else write(folder.parent, "source.txt", "trl==1.0\n")
    if not with_matrix:
        (folder / "matrix.toml").unlink()

    with pytest.raises(UsageError, match="choose another name with --name"):
        import_cell(folder, source, name)
    assert path.read_text() == "trl==1.0\n"
    import_cell(folder, source, name, force=True)
    assert path.read_text().startswith(lock.IMPORTED_PREFIX)


def test_an_imported_lock_that_was_edited_by_hand_is_replaced_only_with_force(
    folder: Path, fake_uv: FakeUv
) -> None:
    fake_uv(*[(0, f"trl==1.0\n{TOOLS_LOCK}", "")] * 2)
    source = write(folder.parent, "r.txt", "trl==1.0\n")
    import_cell(folder, source, "ours")
    path = folder / "ours.txt"
    path.write_text(edited := path.read_text().replace("trl==1.0", "trl==0.9"))

    with pytest.raises(UsageError, match="edited by hand; to replace it, repeat the command with --force"):
        import_cell(folder, source, "ours")
    assert path.read_text() == edited
    import_cell(folder, source, "ours", force=True)
    assert "trl==1.0\n" in path.read_text()


def test_a_lock_imported_before_there_were_hashes_can_be_replaced(folder: Path, fake_uv: FakeUv) -> None:
    fake_uv(*[(0, f"trl==1.0\n{TOOLS_LOCK}", "")] * 2)
    (folder / "matrix.toml").unlink()
    old = write(folder, "ours.txt", "# Imported from r.txt; installed exactly as written.\ntrl==0.9\n")

    import_cell(folder, write(folder.parent, "r.txt", "trl==1.0\n"), "ours")

    assert "trl==1.0\n" in old.read_text()


def test_importing_does_not_overwrite_a_cell_that_is_not_imported(tmp_path: Path) -> None:
    write(tmp_path, "matrix.toml", MATRIX)

    with pytest.raises(UsageError, match=r"'old' is a cell of matrix\.toml already"):
        imported.import_cell(table.load(tmp_path), tmp_path / "x.txt", "old", force=True)
    with pytest.raises(UsageError, match="the name 'a b' must consist of letters"):
        imported.import_cell(table.load(tmp_path), tmp_path / "x.txt", "a b")


CUDA = "torch==2.9.0\nnvidia-cublas-cu12==12.8\n"


def test_no_package_is_both_left_out_and_added(tmp_path: Path, fake_uv: FakeUv) -> None:
    """Torch may come with CUDA packages, and a fork that others require as a release."""
    text = f"trl==1.0\n{CUDA}fork @ git+https://host/fork\n-e ./local\n"
    fake_uv((0, f"trl==1.0\nfork==1.0\n{CUDA}triton==3.5\n{TOOLS_LOCK}", ""))

    result = imported.import_lock(write(tmp_path, "r.txt", text), "3.11")

    assert result.left_out == ("./local",)
    assert result.replaced == ("fork",)
    assert result.added == tuple(sorted(["triton", *lock.TEST_TOOLS]))
    assert result.cuda == ["nvidia-cublas-cu12", "triton"]


def test_versions_that_are_written_differently_did_not_move(tmp_path: Path, fake_uv: FakeUv) -> None:
    fake_uv((0, f"torch==2.8.0+cpu\n{TOOLS_LOCK}", ""))

    assert imported.import_lock(write(tmp_path, "r.txt", "torch==2.8\n"), "3.11").moved == {}


@pytest.fixture(name="wheels")
def _wheels(tmp_path: Path, fake_uv: FakeUv, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A find-links folder with two CPU builds of torch for Python 3.11."""
    links = tmp_path / "links"
    links.mkdir()
    for version in ("2.12.0", "2.13.0"):
        (links / f"torch-{version}+cpu-cp311-cp311-any.whl").touch()
    monkeypatch.setenv("UV_FIND_LINKS", str(links))
    return links


def imported_with(
    tmp_path: Path,
    fake_uv: FakeUv,
    text: str,
    *results: UvResult,
    cell: tuple[str, str | None] = ("3.11", None),
) -> UvCalls:
    calls = fake_uv(*results)
    imported.import_lock(write(tmp_path, "r.txt", text), *cell)
    return calls


RESULT = (0, f"trl==1.0\ntorch==1\n{TOOLS_LOCK}", "")


@pytest.mark.parametrize(
    ("text", "cell", "expected"),
    [
        ("trl==1.0\n", ("3.11", None), ["<torch==2.13.0+cpu>"]),
        ("trl==1.0\n", ("3.11", "2.12.0"), ["<torch==2.12.0>", "<torch==2.12.0+cpu>"]),
        ("trl==1.0\n", ("3.11", "2.5.0"), ["<torch==2.5.0>", "--torch-backend"]),
        ("torch<2.13\n", ("3.11", "2.13.0"), ["<torch==2.12.0+cpu>"]),
        ("torch==2.13.0+cu130\n", ("3.11", None), ["<torch==2.13.0+cpu>"]),
        ("torch==2.5.0\n", ("3.11", None), ["--torch-backend"]),
        ("trl==1.0\n", ("3.12", None), ["--torch-backend"]),
        ("trl==1.0\n-c c.txt\n", ("3.11", None), ["<torch<2.13>", "<torch==2.12.0+cpu>"]),
    ],
)
@pytest.mark.usefixtures("wheels")
def test_torch_is_a_cpu_build(
    tmp_path: Path, fake_uv: FakeUv, text: str, cell: tuple[str, str | None], expected: list[str]
) -> None:
    """A wheel in find-links wins over the index, the version of the matrix over any other."""
    write(tmp_path, "c.txt", "torch<2.13\n")
    calls = imported_with(tmp_path, fake_uv, text, RESULT, cell=cell)

    assert [item for item in calls[0] if item.startswith(("<torch", "--"))][-len(expected) :] == expected


@pytest.mark.usefixtures("wheels")
def test_a_wheel_that_something_refuses_gives_way(tmp_path: Path, fake_uv: FakeUv) -> None:
    refused = (1, "", f"{NO_SOLUTION} old needs torch<2")

    calls = imported_with(tmp_path, fake_uv, "old==1.0\n", refused, (0, f"old==1.0\n{TOOLS_LOCK}", ""))

    assert "<torch==2.13.0+cpu>" in calls[0]
    assert not [item for item in calls[1] if item.startswith("<torch")]
    assert "--torch-backend" in calls[1]


def test_without_the_index_of_cpu_builds_torch_comes_from_the_package_index(
    tmp_path: Path, fake_uv: FakeUv
) -> None:
    unreachable = (1, "", "error: Failed to fetch: `https://wheels.pytorch.org/whl/cpu/torch/`")

    calls = imported_with(tmp_path, fake_uv, "torch==2.9.0\n", unreachable, RESULT)

    assert "--torch-backend" in calls[0]
    assert "--torch-backend" not in calls[1]


def test_constraints_are_passed_on(tmp_path: Path, fake_uv: FakeUv) -> None:
    write(tmp_path, "c.txt", "peft<0.2 ; python_version > '3'\nnumpy==1 ; python_version < '3'\n")

    calls = imported_with(tmp_path, fake_uv, "trl==1.0\n-c c.txt\n", RESULT)

    assert "<peft<0.2>" in calls[0]
    assert not [item for item in calls[0] if "numpy" in item]


@pytest.fixture(name="ours")
def _ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A cell imported from ``requirements.txt``; what is said of it once that file has another text."""
    monkeypatch.chdir(folder.parent)
    source = Path("requirements.txt")
    source.write_text("trl==1.0\nclick==7.0\npeft>=0.1\nnvidia-x==1\nfork @ https://host/f.whl\n")
    found = imported.ImportedLock(
        packages={"trl": "1.0", "click": "8.0", "peft": "0.18"},
        added=(),
        moved={"click": ("7.0", "8.0")},
        left_out=("nvidia-x",),
    )
    monkeypatch.setattr(imported, "import_lock", lambda *_: found)
    imported.import_cell(table.load(folder), source, "ours")

    def told(text: str) -> str:
        source.write_text(text)
        matrix = table.load(folder)
        return imported.outdated(matrix, matrix.cell("ours"))

    return told


@pytest.mark.parametrize(
    "text",
    [
        "trl==1.0\nclick==7.0\npeft>=0.1\nnvidia-x==1\nfork @ https://host/f.whl\n",
        "# a comment\ntrl==1.0.0\n",
        "trl = oddity\n",
        "fork @ https://host/other.whl\n",
    ],
)
def test_an_import_is_not_outdated_if_its_file_asks_for_what_the_lock_has(
    ours: Callable[[str], str], text: str
) -> None:
    assert ours(text) == ""


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("trl==1.1\n", "trl 1.0 -> 1.1"),
        ("trl==1.0\npeft>=0.19\n", "peft 0.18 -> >=0.19"),
        ("click==7.1\n", "click 8.0 -> 7.1"),
        ("trl==1.0\nnew==1\n", "new not there -> 1"),
        ("a==1\nb==1\nc==1\nd==1\n", "a not there -> 1, b not there -> 1, c not there -> 1 and 1 more"),
    ],
)
def test_an_import_is_outdated_if_its_file_asks_for_something_else(
    ours: Callable[[str], str], text: str, changed: str
) -> None:
    """After ``init``, edits of requirements.txt once changed nothing, without a word."""
    assert ours(text) == (
        f"ours was made from requirements.txt, which has changed ({changed}); "
        "update it: tunematrix lock --from requirements.txt --name ours"
    )


def test_a_lock_that_was_not_imported_or_whose_file_is_gone_is_not_outdated(
    ours: Callable[[str], str], folder: Path
) -> None:
    matrix = table.load(folder)
    assert imported.outdated(matrix, matrix.cell("old")) == ""
    Path("requirements.txt").unlink()
    assert imported.outdated(matrix, matrix.cell("ours")) == ""
    assert ours("trl==1.1\n")
