"""Freezing a cell's artifacts: written twice from a clean tree, compared, and kept as they are for good."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import tunematrix
from tunematrix.base.errors import InfrastructureError, RegressionError, UsageError
from tunematrix.base.store import Store
from tunematrix.hub.models import SMALL, SMALL_EXPERTS, cache_root
from tunematrix.hub.models import folder_of as model_folder
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions.candidate import Progress
from tunematrix.run import environment, frozen
from tunematrix.run import exchange as cells
from tunematrix.run.exchange import Member
from tunematrix.shared.repos import TINY_MODELS

# What is not kept, and why: paths below the folder of a model.
LEFT_OUT: Final[Mapping[str, str]] = {
    r"(.*/)?training_args\.bin": "a pickle with the writer's folders and its day; nobody resumes from it",
    r"(.*/)?README\.md": "a model card with the writer's folders; no class reads it",
    r"(sft|dpo|full-checkpoint)/checkpoint-2/(?!trainer_state\.json).*": "the end of a run: nothing goes on",
    r"dpo/ref/.*": "the reference at the end of a run: nothing goes on",
    r"(dpo|full-checkpoint)/(?!facts\.|unwritten\.)[^/]+": "the end of a run; that of sft is read",
}
TEXT: Final = (".json", ".jinja", ".txt")
MOVING: Final = ("latest", "latest-floor")  # the rules of cells whose versions change under the same name
LISTED: Final = 5
OWN: Final = Path(tunematrix.__file__).resolve().parent
Files = dict[str, bytes]


def freeze(
    chosen: Sequence[Cell], matrix: Matrix, store: Store, seconds: float, progress: Progress
) -> list[Path]:
    """Freeze the artifacts of each cell; returns the folders of the new sets.

    Raises ``UsageError`` for a tree that is not clean or a cell that cannot be frozen, ``RegressionError``
    if its stack writes other files when it writes again, ``UntestableError`` if it writes none.
    """
    commit = _clean_commit(matrix.folder)
    for cell in chosen:
        _check(cell, matrix)
    kept = []
    for cell in chosen:
        first, second = _write_twice(cell, matrix, store, seconds)
        if _clean_commit(matrix.folder) != commit:
            raise UsageError(f"{cell.name}: not frozen: another commit was checked out while it was written")
        if differing := compare(first, second):
            raise RegressionError(
                f"{cell.name}: not frozen: writing it twice gave other files: {_some(differing)}"
            )
        kept.append(_save(cell, matrix, first, commit))
        size = sum(path.stat().st_size for path in kept[-1].iterdir()) // 1000
        progress(f"{cell.name}: wrote the same {len(first)} files twice; kept {size} kB in {kept[-1]}")
    return kept


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if names[LISTED:] else ""
    return ", ".join(names[:LISTED]) + more


def _check(cell: Cell, matrix: Matrix) -> None:
    target = frozen.folder_of(matrix, cell.name)
    if target.exists():
        raise UsageError(
            f"{target}: is frozen already, and a frozen set is never replaced; name another cell"
        )
    if cell.rule in MOVING:
        raise UsageError(f"{cell.name}: its versions change with time; freeze a cell that keeps them")
    if not matrix.lock_path(cell).is_file():
        raise UsageError(f"{cell.name}: has no lock; make and commit it: nox -s lock -- {cell.name}")


def _clean_commit(constraints: Path) -> str:
    """The commit of the repository of ``constraints``; raises ``UsageError`` unless all is as committed.

    So must be this program's own code, if it runs from a repository. Other sets write nothing.
    """
    top = ("rev-parse", "--show-toplevel")
    is_tracked = _git(OWN, "ls-files", "--error-unmatch", "__init__.py") is not None
    if is_tracked and _git(OWN, *top) != _git(constraints, *top):
        _check_clean(OWN)
    _check_clean(constraints)
    return (_git(constraints, "rev-parse", "HEAD") or "").strip()


def _check_clean(folder: Path) -> None:
    changed = _git(folder, "status", "--porcelain", "--", ":/", f":(exclude){frozen.FOLDER}")
    if changed is None:
        raise UsageError(
            f"--freeze: {folder} is in no git repository; a frozen set names the commit that wrote it"
        )
    if lines := changed.splitlines():
        names = _some([line[3:] for line in lines])
        raise UsageError(f"--freeze: not as committed: {names}; commit or stash it first")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None if it fails."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"--freeze: needs git: {error}") from None
    return completed.stdout if completed.returncode == 0 else None


def _write_twice(cell: Cell, matrix: Matrix, store: Store, seconds: float) -> tuple[Files, Files]:
    store.root.mkdir(parents=True, exist_ok=True)
    with store.locked(cell.name), tempfile.TemporaryDirectory(dir=store.root, prefix=".freeze-") as folder:
        root = Path(folder).resolve()
        first = _write(cell, matrix, store, root / "1", seconds)
        return first, _write(cell, matrix, store, root / "2", seconds)


def _write(cell: Cell, matrix: Matrix, store: Store, results: Path, seconds: float) -> Files:
    """The files that the cell writes into an empty folder."""
    results.mkdir()
    venv = store.environment(cell.name)
    member = Member(cell=cell, matrix=matrix, results=results, venv=venv, small=True)
    if reason := cells.write(member, seconds):
        raise InfrastructureError(f"{cell.name}: not frozen: {reason}")
    places = {
        str(member.artifacts.resolve()): "artifacts",
        str(results): "results",
        str(venv.absolute()): "venv",
        str(OWN): "tunematrix",
        **{str(model_folder(member.model(name))): name for name in TINY_MODELS},
        str(cache_root()): "cache",
    }
    return read_files(member.artifacts, places)


def read_files(root: Path, places: Mapping[str, str]) -> Files:
    """What is kept of the artifacts in ``root``, with names in place of this machine's ``places``.

    Raises ``RegressionError`` for a file that is no text and has such a place in it.
    """
    files: Files = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root).as_posix()
        if any(re.fullmatch(pattern, name.partition("/")[2]) for pattern in LEFT_OUT):
            continue
        content = path.read_bytes()
        for place, word in places.items():
            if path.suffix in TEXT:
                content = content.replace(place.encode(), word.encode())
            elif place.encode() in content:
                raise RegressionError(f"{name}: not frozen: it has a path of this machine: {place}")
        files[name] = content
    return files


def compare(first: Files, second: Files) -> list[str]:
    """The names of the files that are not in both, or not equal."""
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _save(cell: Cell, matrix: Matrix, written: Files, commit: str) -> Path:
    """Write the set; all of it or nothing."""
    models = {name: SMALL[name] for name in TINY_MODELS} | {"experts": SMALL_EXPERTS}
    files = {f"{frozen.ARTIFACTS}/{name}": content for name, content in written.items()}
    for name, model in models.items():
        for path in sorted(model_folder(model).iterdir()):
            files[f"{frozen.BASES}/{name}/{path.name}"] = path.read_bytes()
    order = sorted(files, key=lambda name: (Path(name).suffix, Path(name).name, name))
    target = frozen.folder_of(matrix, cell.name)
    target.parent.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".part-"))
    try:
        (temporary / frozen.ARCHIVE).write_bytes(frozen.pack(files, order))
        shutil.copyfile(matrix.lock_path(cell), temporary / frozen.LOCK)
        content = {
            "schema": frozen.SCHEMA,
            "cell": cell.name,
            "frozen": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "commit": commit,
            "tunematrix": tunematrix.__version__,
            "python": cell.python,
            "platform": environment.platform_name(),
            "models": {name: f"{model.name}-{model.version}" for name, model in models.items()},
            "left_out": dict(LEFT_OUT),
            "sha256": {name: environment.sha256(temporary / name) for name in (frozen.ARCHIVE, frozen.LOCK)},
        }
        (temporary / frozen.CONTENT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
