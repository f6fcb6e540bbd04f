"""Writing the artifacts of this stack, and reading those of others: each kind in a child of its own.

Of one writer and model, all kinds share a child, since most take a few hundredths of a second. Where that
child crashes or hangs, each kind gets its own, so that a crash is one entry of the table.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.exchange import adapters, checkpoints, models, reads
from tunematrix.harness.exchange.facts import as_saved, load_facts, save_facts
from tunematrix.harness.exchange.kinds import Kind, compare
from tunematrix.harness.failure import describe_with_context
from tunematrix.harness.fingerprint import warm_up
from tunematrix.harness.isolate import Unavailable, Work, WorkResult, run_isolated
from tunematrix.harness.kept import set_base_model
from tunematrix.harness.measures.lab import Lab, skip_repeated_work
from tunematrix.harness.stages import time_limit
from tunematrix.pipeline.trace import Trace

KINDS: Final = (*checkpoints.ALL, *adapters.ALL, *models.ALL)
EXPERTS: Final = "experts"  # in the folder of the models of a frozen set
UNWRITTEN: Final = "unwritten.json"  # in the folder of a kind that this stack could not write, and why
Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The artifacts of a writer, and the models that it made them with if those are not the reader's."""

    folder: Path
    models: Mapping[str, Path]
    experts: Path | None = None

    def enter(self) -> None:
        """Make its model with experts the one that this process uses."""
        if self.experts:
            os.environ["TUNEMATRIX_EXPERTS"] = str(self.experts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """What one cell does: write its artifacts of ``models`` to ``write``, and read those of ``writers``.

    ``compact`` writes facts that are kept for good; ``parts`` are those of somebody's folder, to read too.
    """

    models: Mapping[str, Path]
    write: Path | None = None
    compact: bool = False
    writers: Mapping[str, Source]
    parts: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> Spec:
        """The specification that the host left in a JSON file."""
        content = json.loads(path.read_text(encoding="utf-8"))
        models = {name: Path(folder) for name, folder in content["models"].items()}
        bases = content.get("bases", {})
        experts = Path(os.environ["TUNEMATRIX_EXPERTS"])
        return cls(
            models=models,
            write=Path(content["write"]) if content.get("write") else None,
            compact=bool(content.get("compact")),
            writers={
                name: Source(
                    folder=Path(folder),
                    models=_below(Path(bases[name]), models) if name in bases else models,
                    experts=Path(bases[name]) / EXPERTS if name in bases else experts,
                )
                for name, folder in content.get("writers", {}).items()
            },
            parts=content.get("parts", {}),
        )


def _below(folder: Path, models: Iterable[str]) -> dict[str, Path]:
    return {name: folder / name for name in models if (folder / name).is_dir()}


def kinds_for(model: str) -> list[Kind]:
    """The kinds of artifacts of a model: all of a tiny one, those without its weights of any other."""
    tiny = model.startswith("tiny-")
    return [kind for kind in KINDS if (not kind.only or model in kind.only) and (tiny or kind.light)]


def write_all(spec: Spec, scratch: Path) -> Iterator[Result]:
    """Write the artifacts; yields what could not be written."""
    assert spec.write is not None
    for name, model in spec.models.items():
        kinds = [kind for kind in kinds_for(name) if kind.write]
        target = spec.write / name

        def write(kind: Kind, lab: Lab, target: Path = target) -> None:
            folder = target / kind.folder
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            assert kind.write is not None
            save_facts(folder, kind.write(lab, folder), compact=spec.compact)

        for kind, result in _each(kinds, write, model, scratch / "write" / name):
            if result["outcome"] != "same":
                folder = target / kind.folder
                folder.mkdir(parents=True, exist_ok=True)
                (folder / UNWRITTEN).write_text(json.dumps(result), encoding="utf-8")
                yield {"model": name, "kind": kind.name, **result}


def read_all(spec: Spec, scratch: Path) -> Iterator[Result]:
    """Read the artifacts of each writer; yields a result for each artifact, ``same`` or not."""
    for writer, origin in spec.writers.items():
        for name, model in origin.models.items():
            source = origin.folder / name
            kinds = [kind for kind in kinds_for(name) if (source / kind.folder).is_dir()]
            copies = scratch / "read" / writer / name
            read = functools.partial(_read, origin, name, copies)
            for kind, result in _each(kinds, read, model, copies):
                yield from _results(writer, name, kind, result, source / kind.folder)
            shutil.rmtree(copies, ignore_errors=True)


def _read(origin: Source, name: str, copies: Path, kind: Kind, lab: Lab) -> list[Result]:
    """Read one kind from a copy; a result for each of its artifacts."""
    origin.enter()
    folder = copies / kind.name / "artifact"
    shutil.copytree(origin.folder / name / kind.folder, folder)
    for config in folder.rglob("adapter_config.json"):
        set_base_model(config, origin.models[name])
    expected, found = load_facts(folder), as_saved(folder, kind.read(lab, folder))
    return [
        {"artifact": artifact, **_compared(compare(expected[artifact], found[artifact]))}
        for artifact in kind.names
    ]


def _results(writer: str, model: str, kind: Kind, result: Result, folder: Path) -> Iterator[Result]:
    """The results of one kind: those of its artifacts, or for each why there is none."""
    pair = {"writer": writer, "model": model}
    if (folder / UNWRITTEN).is_file():
        unwritten = json.loads((folder / UNWRITTEN).read_text(encoding="utf-8"))
        result = {"outcome": "unavailable", "error": unwritten["error"], "written": False}
    if "results" in result:
        yield from ({**pair, **each} for each in result["results"])
    else:
        yield from ({**pair, "artifact": artifact, **result} for artifact in kind.names)


def _compared(difference: Mapping[str, Any] | None) -> Result:
    return {"outcome": "differs", "difference": dict(difference)} if difference else {"outcome": "same"}


def _each(
    kinds: Sequence[Kind], do: Callable[[Kind, Lab], Any], model: Path, scratch: Path
) -> Iterator[tuple[Kind, Result]]:
    """Do all ``kinds`` in one child; after a crash, each in its own."""
    if not kinds:
        return
    together = run_isolated(_work(kinds, do, model, scratch), time_limit())
    if together.outcome == "passed":
        yield from ((kind, together.numbers[kind.name]) for kind in kinds)
        return
    for kind in kinds:
        shutil.rmtree(scratch / kind.name, ignore_errors=True)
        result = run_isolated(_work([kind], do, model, scratch), time_limit())
        yield kind, result.numbers[kind.name] if result.outcome == "passed" else _crashed(result)


def _crashed(result: WorkResult) -> Result:
    return {"outcome": "fails", "error": result.error, "crashed": result.outcome}


def _work(kinds: Sequence[Kind], do: Callable[[Kind, Lab], Any], model: Path, scratch: Path) -> Work:
    """Work that does ``kinds`` one after the other; what one raises is its result."""

    def work(trace: Trace) -> None:
        skip_repeated_work()
        for kind in kinds:
            folder = scratch / kind.name
            folder.mkdir(parents=True, exist_ok=True)
            lab = Lab(model=model, tokenizer=model, folder=folder, trace=Trace(), prefix="x", name="run")
            try:
                results = do(kind, lab)
                trace.numbers[kind.name] = {"outcome": "same", **({"results": results} if results else {})}
            except Unavailable as reason:
                error = {"type": "Unavailable", "message": str(reason), "where": "", "traceback": ""}
                trace.numbers[kind.name] = {"outcome": "unavailable", "error": error}
            except Exception as failure:
                trace.numbers[kind.name] = {"outcome": "fails", "error": describe_with_context(failure)}

    return work


def run(spec: Spec, scratch: Path, results: Path) -> None:
    """Write and read as ``spec`` says; each result is a line of ``results`` as soon as it is known."""
    if spec.write or spec.writers:
        warm_up(list(spec.models.values()), scratch / "warm-up")
    with results.open("a", encoding="utf-8") as stream:

        def add(result: Mapping[str, Any]) -> None:
            stream.write(json.dumps(result) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

        if spec.write:
            for result in write_all(spec, scratch):
                add(result)
            add({"written": True})
        for result in read_all(spec, scratch):
            add(result)
        for result in reads.read_all(spec.parts, scratch / "parts"):
            add(result)
        add({"read": sorted(spec.writers)})
