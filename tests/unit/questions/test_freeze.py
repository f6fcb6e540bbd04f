"""Freezing artifacts: only from a clean tree, only if written twice alike, and never over an older set."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tunematrix.base.errors import InfrastructureError, RegressionError, UsageError
from tunematrix.base.store import Store
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import freeze
from tunematrix.run import exchange as cells
from tunematrix.run import frozen
from tunematrix.run.exchange import Member

ADAPTER = "tiny-llama/lora/adapter_config.json"
OLD = Cell(name="old", why="")


class World:
    """A repository with a cell whose process is replaced by ``files``, a mapping for each time it writes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder
        self.constraints = folder / "constraints"
        self.constraints.mkdir()
        (self.constraints / "old.txt").write_text("transformers==4.46.3\n")
        self.git("init", "-q")
        self.commit()
        self.files: list[dict[str, bytes]] = [{ADAPTER: b"{}"}, {ADAPTER: b"{}"}]
        self.written: list[Path] = []
        self.reason = ""
        monkeypatch.setattr(cells, "write", self.write)
        monkeypatch.setattr(freeze, "OWN", folder.parent)  # the code of an installed wheel
        self.matrix = Matrix(folder=self.constraints, cells=(OLD,))
        self.store = Store(folder.parent / "results")

    def git(self, *arguments: str) -> str:
        name = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        command = ["git", "-C", str(self.root), *name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "all")

    def write(self, member: Member, seconds: float) -> str:
        del seconds
        assert member.small
        for name, content in self.files[len(self.written)].items():
            path = member.artifacts / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.replace(b"OUTPUT", str(member.artifacts.resolve()).encode()))
        self.written.append(member.artifacts)
        return self.reason

    def freeze(self, cell: Cell = OLD) -> Path:
        [target] = freeze.freeze([cell], self.matrix, self.store, 10.0, lambda _: None)
        return target

    def load(self) -> frozen.Frozen:
        [found] = frozen.load(self.matrix, self.store.root)
        return found


@pytest.fixture(name="world")
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    (tmp_path / "repository").mkdir()
    return World(tmp_path / "repository", monkeypatch)


def test_a_set_has_artifacts_models_lock_and_the_commit_that_wrote_it(world: World) -> None:
    target = world.freeze()
    found = world.load()
    assert found.name == "old (frozen)"
    assert found.packages == {"transformers": "4.46.3"}
    assert (found.artifacts / ADAPTER).read_bytes() == b"{}"
    assert (found.bases / "tiny-llama" / "model.safetensors").stat().st_size < 30_000
    assert (found.bases / "experts" / "config.json").is_file()
    content = json.loads((target / frozen.CONTENT).read_text())
    assert content["commit"] == world.git("rev-parse", "HEAD").strip()
    assert content["sha256"].keys() == {frozen.ARCHIVE, frozen.LOCK}
    assert target.stat().st_mode & 0o777 == 0o755


def test_it_writes_twice_in_fresh_folders(world: World) -> None:
    world.freeze()
    assert len(set(world.written)) == 2
    assert not any(path.exists() for path in world.written)


@pytest.mark.parametrize("change", ["edited", "new"])
def test_a_tree_that_is_not_clean_is_refused(world: World, change: str) -> None:
    path = world.constraints / ("old.txt" if change == "edited" else "other.txt")
    path.write_text("transformers==4.47.0\n")
    with pytest.raises(UsageError, match=rf"not as committed: constraints/{path.name}; commit or stash"):
        world.freeze()
    assert not world.written


def test_so_is_code_of_this_program_that_is_not_committed(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "constraints").mkdir(parents=True)
    monkeypatch.setattr(freeze, "OWN", other)
    for name in ("__init__.py", "new.py"):
        (other / name).write_text("")
        if name == "__init__.py":
            subprocess.run(["git", "init", "-q", str(other)], check=True)
            subprocess.run(["git", "-C", str(other), "add", "-A"], check=True)
    with pytest.raises(UsageError, match=r"not as committed: .*new\.py"):
        world.freeze()


def test_a_tree_that_changes_while_it_is_written_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_edit(member: Member, seconds: float) -> str:
        (world.constraints / "old.txt").write_text("transformers==4.47.0\n")
        return world.write(member, seconds)

    monkeypatch.setattr(cells, "write", write_and_edit)
    with pytest.raises(UsageError, match=r"not as committed: constraints/old\.txt"):
        world.freeze()
    assert not (world.constraints / "frozen").exists()


def test_another_set_that_is_not_committed_yet_is_no_obstacle(world: World) -> None:
    world.freeze()
    (world.constraints / "new.txt").write_text("transformers==4.47.0\n")
    world.git("add", "constraints/new.txt")
    world.git("commit", "-q", "-m", "new")
    world.written.clear()
    assert world.freeze(Cell(name="new", why="")).name == "new"


def test_a_folder_in_no_repository_is_refused(world: World) -> None:
    (world.root / ".git").rename(world.root / "gone")
    with pytest.raises(UsageError, match="in no git repository"):
        world.freeze()


def test_writes_that_differ_are_named_and_nothing_is_kept(world: World) -> None:
    world.files[1] = {ADAPTER: b'{"r": 2}', "tiny-llama/lora/new.bin": b"x"}
    message = f"old: not frozen: writing it twice gave other files: {ADAPTER}, tiny-llama/lora/new.bin"
    with pytest.raises(RegressionError, match=message):
        world.freeze()
    assert not (world.constraints / "frozen").exists()


def test_a_set_is_never_overwritten(world: World) -> None:
    before = (world.freeze() / frozen.ARCHIVE).read_bytes()
    world.commit()
    world.written.clear()
    with pytest.raises(UsageError, match="is frozen already, and a frozen set is never replaced"):
        world.freeze()
    assert not world.written
    assert (world.constraints / "frozen/old" / frozen.ARCHIVE).read_bytes() == before


def test_a_cell_whose_versions_change_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="latest: its versions change with time"):
        world.freeze(Cell(name="latest", why="", rule="latest"))


def test_a_cell_without_a_lock_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="new: has no lock"):
        world.freeze(Cell(name="new", why=""))


def test_a_cell_that_cannot_write_is_not_frozen(world: World) -> None:
    world.reason = "its packages do not import together"
    with pytest.raises(InfrastructureError, match="old: not frozen: its packages do not import"):
        world.freeze()


def test_names_stand_for_this_machines_folders(world: World) -> None:
    for each in world.files:
        each[ADAPTER] = b'{"base": "OUTPUT/start"}'
    world.freeze()
    assert (world.load().artifacts / ADAPTER).read_bytes() == b'{"base": "artifacts/start"}'


def test_a_path_in_a_file_that_is_no_text_is_refused(world: World) -> None:
    for each in world.files:
        each["tiny-llama/lora/x.bin"] = b"OUTPUT"
    with pytest.raises(RegressionError, match=r"x\.bin: not frozen: it has a path of this machine"):
        world.freeze()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("sft/training_args.bin", False),
        ("sft/checkpoint-1/training_args.bin", False),
        ("sft/checkpoint-1/optimizer.pt", True),
        ("sft/checkpoint-2/optimizer.pt", False),
        ("sft/adapter_model.safetensors", True),
        ("full-checkpoint/checkpoint-2/trainer_state.json", True),
        ("full-checkpoint/checkpoint-2/model.safetensors", False),
        ("full-checkpoint/model.safetensors", False),
        ("dpo/start/adapter_model.safetensors", True),
        ("dpo/facts.json", True),
        ("dpo/tokenizer.json", False),
        ("full/model.safetensors", True),
        ("lora/README.md", False),
    ],
)
def test_what_is_left_out(tmp_path: Path, name: str, *, kept: bool) -> None:
    path = tmp_path / "tiny-llama" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert list(freeze.read_files(tmp_path, {})) == ([f"tiny-llama/{name}"] if kept else [])


def test_the_same_files_give_the_same_archive() -> None:
    files = {"a/b": b"1", "c": b"2"}
    assert frozen.pack(files, ["c", "a/b"]) == frozen.pack(dict(reversed(files.items())), ["c", "a/b"])


@pytest.mark.parametrize("name", [frozen.ARCHIVE, frozen.LOCK])
def test_a_changed_byte_is_refused(world: World, name: str) -> None:
    path = world.freeze() / name
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UsageError, match=rf"{name}: was changed after it was frozen: .*git checkout -- "):
        world.load()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / frozen.ARCHIVE).unlink(), "artifacts.tar.xz: is missing"),
        (lambda folder: (folder / frozen.CONTENT).unlink(), "frozen.json"),
        (lambda folder: (folder / frozen.CONTENT).write_text("{"), "not a frozen set"),
        (lambda folder: (folder / frozen.CONTENT).write_text('{"schema": 2}'), "needs schema = 1"),
        (lambda folder: (folder / frozen.CONTENT).write_text('{"schema": 1}'), "was changed after"),
    ],
)
def test_a_damaged_set_is_refused(world: World, damage: object, message: str) -> None:
    folder = world.freeze()
    assert callable(damage)
    damage(folder)
    with pytest.raises(UsageError, match=message):
        world.load()


def test_a_set_is_unpacked_once(world: World) -> None:
    world.freeze()
    (world.load().artifacts / "marker").write_text("")
    assert (world.load().artifacts / "marker").is_file()


def test_the_key_of_a_set_is_that_of_its_artifacts_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.freeze()
    before = world.load().key()
    monkeypatch.setattr(cells, "_sources", lambda: "other code")
    assert world.load().key() == before


def test_the_shipped_sets_are_as_they_were_written(tmp_path: Path) -> None:
    constraints = Path(__file__).parents[3] / "constraints"
    names = [path.name for path in (constraints / frozen.FOLDER).iterdir()]
    cells_of = tuple(Cell(name=name, why="") for name in names)
    found = frozen.load(Matrix(folder=constraints, cells=cells_of), tmp_path)
    assert len(found) == len(names) >= 5
    assert sum(path.stat().st_size for path in (constraints / frozen.FOLDER).rglob("*")) < 1_200_000
    for each in found:
        assert {path.name for path in each.artifacts.iterdir()} == {"tiny-gpt2", "tiny-llama"}
