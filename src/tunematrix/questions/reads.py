"""``reads``: which stacks load and resume what a folder has. Nothing is written to the folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tunematrix.base.errors import UntestableError, UsageError
from tunematrix.base.store import Store
from tunematrix.hub.models import MODELS
from tunematrix.hub.models import folder_of as model_folder
from tunematrix.questions.candidate import Progress
from tunematrix.run import activity, models
from tunematrix.run import exchange as cells
from tunematrix.run.exchange import Member
from tunematrix.shared import reading
from tunematrix.shared.repos import is_repo_id
from tunematrix.verdict.reads import Reading, Verdict, judge

ADAPTER: Final = "adapter_config.json"
CONFIG: Final = "config.json"
STATE: Final = "trainer_state.json"
WEIGHTS: Final = ("model*.safetensors", "pytorch_model*.bin")
TOKENIZERS: Final = ("tokenizer_config.json", "tokenizer.json")
PICKLES: Final = (".bin", ".pt", ".pth", ".pkl")
NOT_LOADED: Final = "training_args.bin"
VERSIONS: Final = {  # where a folder names the release that wrote it
    ADAPTER: ("peft_version", "peft"),
    CONFIG: ("transformers_version", "transformers"),
    "generation_config.json": ("transformers_version", "transformers"),
}
EMBEDDED: Final = "embedded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """What a folder has: parts by name, the versions and the pickles in it.

    ``hub`` is the repository of an adapter's base model, if that has to come from a Hub.
    """

    path: Path
    parts: Mapping[str, Mapping[str, str]]
    versions: Mapping[str, str] = field(default_factory=dict)
    pickles: tuple[str, ...] = ()
    hub: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the cells read of a folder, and what that means."""

    folder: Folder
    readings: Sequence[Reading]
    verdict: Verdict


def inspect(path: Path, base: str = "") -> Folder:
    """Find out what ``path`` has: an adapter, a model, a tokenizer, a checkpoint, or its last checkpoint.

    ``base`` is an adapter's base model, a folder or the id of a model of the Hub in use, instead of the one
    that it names. Raises ``UsageError``.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder")
    folders = {"": path}
    if checkpoint := last_checkpoint(path):
        folders[checkpoint.name] = checkpoint
    found = {
        name or kind: {"kind": kind, "folder": str(folder.resolve())}
        for name, folder in folders.items()
        for kind in kinds(folder)
        if not name or kind == "checkpoint"
    }
    if not found:
        raise UsageError(f"{path}: {_nothing(path)}")
    has_adapter = any((folder / ADAPTER).is_file() for folder in folders.values())
    place, hub = _base(path, folders.values(), base) if has_adapter else ("", "")
    versions = {
        package: str(value)
        for folder in folders.values()
        for name, (key, package) in VERSIONS.items()
        if (value := _json(folder / name).get(key))
    }
    return Folder(
        path=path,
        parts={name: {**entry, "base": place} for name, entry in found.items()},
        versions=versions,
        pickles=tuple(_pickles(folders.values(), path)),
        hub=hub,
    )


def kinds(folder: Path) -> Iterator[str]:
    """What lies directly in a folder: adapter or model, checkpoint, tokenizer."""
    is_adapter = (folder / ADAPTER).is_file()
    is_model = (folder / CONFIG).is_file() and any(next(folder.glob(name), None) for name in WEIGHTS)
    if is_adapter:
        yield "adapter"
    elif is_model:
        yield "model"
    if (is_adapter or is_model) and (folder / STATE).is_file():
        yield "checkpoint"
    if any((folder / name).is_file() for name in TOKENIZERS):
        yield "tokenizer"


def last_checkpoint(path: Path) -> Path | None:
    """The checkpoint of the last step directly in a folder."""
    steps = {
        folder: int(folder.name.removeprefix("checkpoint-"))
        for folder in path.glob("checkpoint-*/")
        if folder.name.removeprefix("checkpoint-").isdecimal()
    }
    return max(steps, key=lambda folder: steps[folder], default=None)


def _nothing(path: Path) -> str:
    """Why there is nothing to read, and where there is something."""
    names = ", ".join((ADAPTER, f"{CONFIG} with weights", STATE, TOKENIZERS[0]))
    folders = [folder for folder in sorted(path.glob("*/")) if any(kinds(folder))]
    hint = f"; name one of its folders, such as {folders[0]}" if folders else ""
    return f"nothing that a stack loads: none of {names}{hint}"


def _json(path: Path) -> Mapping[str, Any]:
    """The content of a JSON file; empty if there is none. Raises ``UsageError`` for anything else."""
    if not path.is_file():
        return {}
    try:
        content = reading.parse_json(reading.read_text(path), str(path), allow_nan=True)
    except reading.UnreadableError as error:
        raise UsageError(str(error)) from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: must be a JSON object")
    return content


def _base(path: Path, folders: Iterable[Path], base: str) -> tuple[str, str]:
    """The base model of an adapter, and its repository if it has to come from a Hub."""
    named = (str(_json(folder / ADAPTER).get("base_model_name_or_path") or "") for folder in folders)
    name = base or next(filter(None, named), "")
    for candidate in (Path(name), path / name) if name and "\0" not in name else ():
        if (candidate / CONFIG).is_file():
            return str(candidate.resolve()), ""
    ours = {model.repo: model for model in MODELS.values()} | MODELS
    if name in ours:
        return str(model_folder(ours[name]).resolve()), ""
    if os.environ.get("TUNEMATRIX_HUB", EMBEDDED).strip() not in ("", EMBEDDED) and is_repo_id(name):
        return name, name
    told = f"--base {base}" if base else f"{path}: its base model {name or '(none named)'}"
    raise UsageError(
        f"{told}: no folder with a {CONFIG}, and no model of the Hub in use; "
        "name the folder of the base model with --base, or set TUNEMATRIX_HUB=huggingface to download it"
    )


def _pickles(folders: Iterable[Path], path: Path) -> Iterator[str]:
    for folder in folders:
        for file in sorted(folder.glob("*")):
            if file.suffix in PICKLES and file.name != NOT_LOADED:
                yield str(file.relative_to(path))


def read(
    folders: Sequence[Folder],
    members: Sequence[Member],
    store: Store,
    progress: Progress,
    *,
    jobs: int,
    seconds: float,
) -> list[Answer]:
    """What the cells read of each folder: ``jobs`` cells at a time, each in at most ``seconds``.

    A cell is one process for all folders that need no Hub, or the same base model of one.
    """
    read_by: dict[int, list[Reading]] = {}
    for hub in dict.fromkeys(folder.hub for folder in folders):
        places = [place for place, folder in enumerate(folders) if folder.hub == hub]
        own = {place: folders[place] for place in places}
        read_by |= _read(own, members, store, progress, jobs=jobs, seconds=seconds)
    return [
        Answer(
            folder=folder,
            readings=read_by[place],
            verdict=judge(read_by[place], list(folder.parts), folder.versions),
        )
        for place, folder in enumerate(folders)
    ]


def _read(
    folders: Mapping[int, Folder],
    members: Sequence[Member],
    store: Store,
    progress: Progress,
    *,
    jobs: int,
    seconds: float,
) -> dict[int, list[Reading]]:
    (name,) = {folder.hub for folder in folders.values()}
    parts = {
        f"{place}/{part}": entry for place, folder in folders.items() for part, entry in folder.parts.items()
    }

    def one(member: Member) -> list[Reading]:
        with activity.running(member.name), store.locked(member.name), contextlib.ExitStack() as stack:
            try:
                hub = {}
                if name:
                    access = models.hub_for(models.choose(name), member.name)
                    hub = {**stack.enter_context(access).variables, "HF_HUB_OFFLINE": "0"}
                results, reason = cells.read_parts(member, parts, seconds, hub)
            except UntestableError as error:
                results, reason = [], str(error)
        by_part = {str(result["part"]): result for result in results}
        progress(f"{member.name}: {(reason if parts.keys() - by_part.keys() else '') or 'read'}")
        return [
            _reading(member, {part: by_part.get(f"{place}/{part}") for part in folder.parts}, reason)
            for place, folder in folders.items()
        ]

    with ThreadPoolExecutor(jobs) as pool:
        by_member = list(pool.map(one, members))
    return {place: [each[index] for each in by_member] for index, place in enumerate(folders)}


def _reading(member: Member, results: Mapping[str, cells.Result | None], reason: str) -> Reading:
    there = {part: result for part, result in results.items() if result is not None}
    return Reading(
        cell=member.name,
        packages=dict(member.packages),
        results=there,
        reason=reason if len(there) < len(results) else "",
    )
