"""Compare two records: what broke, what was fixed, which numbers moved, which calls need an edit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record, stage_names
from tunematrix.shared.settings import COMMANDS, ENVIRONMENT, is_setting
from tunematrix.shared.stages import FULL, RESUME, ours
from tunematrix.verdict import effects, tolerances
from tunematrix.verdict.noise import NOISE_OF, is_noise
from tunematrix.verdict.outcomes import compared_probes, stage_verdict

VERDICTS: Final = ("regressed", "unknown", "fixed", "changed", "same")  # the worst first
ABSENT: Final = "<absent>"
# The kinds of change that make the verdict "changed"; a new warning alone does not.
VERDICT_KINDS: Final = ("fingerprint", "default", "call_site", "signature")
SURFACE_PROBE: Final = "fingerprint:surface"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference. ``kind`` is fingerprint, default, call_site, warning or signature.

    ``why`` and ``link`` come from the table of known changes.
    """

    kind: str
    name: str
    before: Any
    after: Any
    why: str = ""
    link: str = ""

    @property
    def shift(self) -> tolerances.Shift | None:
        """How far a fingerprint number moved; None unless both values are numbers."""
        return tolerances.shift(self.before, self.after) if self.kind == "fingerprint" else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """The comparison of two records; ``stages`` maps a name to (before, after, verdict).

    ``ours`` maps a stage of a team's own to the stage of ours that trains with the same class.
    """

    verdict: str
    stages: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    packages: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    ours: Mapping[str, str] = field(default_factory=dict)

    def names_of(self, field: str) -> tuple[str, ...]:
        """The field, and that of our stage for one of a team's script: ``finetune.loss`` of ``sft.loss``."""
        stage, dot, rest = field.partition(".")
        base = stage.removesuffix(RESUME)
        if base not in self.ours:
            return (field,)
        return field, f"{self.ours[base]}{stage.removeprefix(base)}{dot}{rest}"

    def of_kind(self, *kinds: str) -> list[Change]:
        return [change for change in self.changes if change.kind in kinds]


def check_comparable(before: Record, after: Record) -> None:
    """Raise ``UsageError`` for records of different models or options: their numbers are not comparable."""
    for key in ("name", "revision"):
        old, new = before.model.get(key), after.model.get(key)
        if (old or new) and old != new and (key == "name" or (old and new)):
            raise UsageError(
                f"{before.cell} ran with model {key} {old}, {after.cell} with {new}; "
                f"run one again with the model of the other: nox -s 'e2e({before.cell})' -- --model ..."
            )
    depths = [record.options.get("depth", FULL) for record in (before, after)]
    if depths[0] != depths[1]:
        raise UsageError(
            f"{before.cell} ran with --depth {depths[0]}, {after.cell} with --depth {depths[1]}; "
            f"run one again: nox -s 'e2e({after.cell})' -- --depth {depths[0]}"
        )
    if before.options != after.options:
        raise UsageError(
            f"{before.cell} and {after.cell} ran with different workloads; "
            "run one again with the --workload of the other"
        )


def compare(before: Record | None, after: Record | None) -> Diff:
    """Compare two records; if one is missing, everything is unknown, never the same."""
    if before is None or after is None:
        names = stage_names(before, after)
        stages = {name: (_outcome(before, name), _outcome(after, name), "unknown") for name in names}
        return Diff(verdict="unknown", stages=stages)
    pairs = {name: (before.stage(name), after.stage(name)) for name in stage_names(before, after)}
    pairs |= compared_probes(before, after)
    stages = {name: (old.outcome, new.outcome, stage_verdict(old, new)) for name, (old, new) in pairs.items()}
    changes = tuple(change for find_changes in COMPARISONS for change in find_changes(before, after))
    verdicts = {verdict for _, _, verdict in stages.values()}
    verdicts |= {"changed"} if any(change.kind in VERDICT_KINDS for change in changes) else set()
    return Diff(
        verdict=next(verdict for verdict in VERDICTS if verdict in verdicts),
        stages=stages,
        changes=changes,
        packages=moved_packages(before.packages, after.packages),
        ours={**ours(before.fingerprint), **ours(after.fingerprint)},
    )


def _outcome(record: Record | None, name: str) -> str:
    return record.stage(name).outcome if record else "unknown"


def _fingerprint_changes(before: Record, after: Record) -> Iterator[Change]:
    """Numbers that moved, and numbers that only one record has.

    Leaves out numbers that a failed stage did not measure, because the stage's verdict shows that failure.
    Of a measure that raised, only the error and the missing training loss are changes.
    """
    fingerprints = before.fingerprint, after.fingerprint
    measures = [{_measure(name) for name in fingerprint} for fingerprint in fingerprints]
    moved_runs = effects.moved_runs(*fingerprints)
    for name in sorted(fingerprints[0].keys() | fingerprints[1].keys()):
        if name.endswith(NOISE_OF):
            continue  # it says how to compare, and is told by itself
        old, new = (fingerprint.get(name, ABSENT) for fingerprint in fingerprints)
        if old is not ABSENT and new is not ABSENT:
            if effects.is_option(name):
                prefix = name.rpartition(".")[0]
                moved, defaults = moved_runs.get(prefix, {}), _defaults(after, name)
                old, new = effects.differences(old, new, moved, defaults)
                if not new:
                    continue
            elif effects.is_leaks(name) and old != new:
                old, new = (
                    effects.new_leaks(side, others)
                    for side, others in zip((old, new), reversed(fingerprints), strict=True)
                )
            if not (tolerances.close(old, new, name) or is_noise(name, old, new, fingerprints)):
                yield Change(kind="fingerprint", name=name, before=old, after=new)
        elif _stage_passed(name, before, after) and all(_measure(name) in names for names in measures):
            without_name = fingerprints[0] if old is ABSENT else fingerprints[1]
            raised = f"{_measure(name)}.error" in without_name
            if not raised or name.endswith((".training_loss", ".error")):
                yield Change(kind="fingerprint", name=name, before=old, after=new)


def _defaults(record: Record, name: str) -> set[str]:
    """The defaults of an option, as its class has them and as they are declared."""
    owner, option = name.split(".")[-2:]
    found = (record.defaults.get(f"{owner}{suffix}", {}) for suffix in ("", DECLARED_SUFFIX))
    return {str(defaults[option]) for defaults in found if option in defaults}


def _measure(name: str) -> str:
    return name.rpartition(".")[0]


def _stage_passed(name: str, before: Record, after: Record) -> bool:
    """Whether the stage that measures ``name``, if a stage does, passed in both records."""
    stage = name.split(".", maxsplit=1)[0]
    return stage not in stage_names(before, after) or all(
        record.stage(stage).outcome == "passed" for record in (before, after)
    )


def _call_site_changes(before: Record, after: Record) -> Iterator[Change]:
    """Arguments that the pipeline spells differently in the two records: in user code each needs an edit."""
    old, new = (_spellings(record.call_sites) for record in (before, after))
    for call, argument in sorted(old.keys() | new.keys()):
        uses = old.get((call, argument), argument), new.get((call, argument), argument)
        if uses[0] != uses[1]:
            yield Change(kind="call_site", name=f"{call}({argument})", before=uses[0], after=uses[1])


def _spellings(call_sites: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], str]:
    return {(site["call"], site["argument"]): site["use"] for site in call_sites}


DECLARED_SUFFIX: Final = " (declared)"
BASE_CONFIG: Final = "TrainingArguments"  # the other configurations inherit from it


def _default_changes(before: Record, after: Record) -> Iterator[Change]:
    """Defaults that changed, and fields that were added or removed.

    Leaves out removed classes, which are signature changes. A change that a class inherits from
    ``BASE_CONFIG``, or that its declared default repeats, is reported once.
    """
    reported: set[tuple[str, str, str]] = set()
    names = before.defaults.keys() & after.defaults.keys()
    for name in sorted(
        names, key=lambda name: (DECLARED_SUFFIX in name, not name.startswith(BASE_CONFIG), name)
    ):
        old, new = before.defaults[name], after.defaults[name]
        owner, suffix = name.removesuffix(DECLARED_SUFFIX), DECLARED_SUFFIX if DECLARED_SUFFIX in name else ""
        renamed = _renames(before, after, owner)
        for argument in sorted(old.keys() | new.keys()):
            values = old.get(argument, ABSENT), new.get(argument, ABSENT)
            repeats = {(class_name, argument, repr(values)) for class_name in (owner, BASE_CONFIG)}
            if values[0] == values[1] or repeats & reported:
                continue
            reported.add((owner, argument, repr(values)))
            why = f"renamed to {renamed[argument]}" if values[1] == ABSENT and argument in renamed else ""
            field_name = f"{owner}.{argument}{suffix}"
            yield Change(kind="default", name=field_name, before=values[0], after=values[1], why=why)


def signature_changes(before: Record, after: Record) -> Iterator[Change]:
    """Removed arguments and public names: user code with them fails, even if the pipeline does not."""
    if not all(_has_signatures(record) for record in (before, after)):
        return
    removed = before.signatures.keys() - after.signatures.keys()
    for call in sorted(before.signatures):
        if call in removed:
            yield Change(kind="signature", name=call, before="present", after=ABSENT)
        else:
            yield from _removed_arguments(call, before, after)
    yield from _removed_names(before, after, removed)
    yield from _removed_settings(before, after)


def _removed_names(before: Record, after: Record, removed: Collection[str]) -> Iterator[Change]:
    """Names that a module no longer defines; those that moved come with their new place.

    A name that is also gone from the package itself is reported once, there.
    """
    old, new = (
        {key: names for key, names in record.symbols.items() if not is_setting(key)}
        for record in (before, after)
    )
    places = {name: module for module, names in new.items() for name in names}
    seen: set[tuple[str, str]] = set()
    for module in sorted(old, key=lambda module: (module.count("."), module)):
        package = module.partition(".")[0]
        if package not in new or ("." in module and not _has_modules(after)):
            continue
        for name in sorted(set(old[module]) - set(new.get(module, ()))):
            if f"{module}.{name}" in removed or (package, name) in seen:
                continue
            seen.add((package, name))
            place = places.get(name, "")
            moved = f"{place}.{name}" if place.partition(".")[0] == package else ABSENT
            yield Change(kind="signature", name=f"{module}.{name}", before="present", after=moved)


def _removed_settings(before: Record, after: Record) -> Iterator[Change]:
    """Environment variables that no package reads any more, and commands that none has."""
    both = sorted(filter(is_setting, before.symbols.keys() & after.symbols.keys()))
    for kind in (ENVIRONMENT, COMMANDS):
        keys = [key for key in both if key.endswith(f":{kind}")]
        kept = {name for key in keys for name in after.symbols[key]}
        for key in keys:
            for name in sorted({*before.symbols[key]} - kept):
                yield Change(kind="signature", name=f"{key}.{name}", before="present", after=ABSENT)


def _has_modules(record: Record) -> bool:
    """Whether the record lists the names of modules, and not only those of packages."""
    return any("." in module for module in record.symbols)


def _removed_arguments(call: str, before: Record, after: Record) -> Iterator[Change]:
    """Arguments of ``call`` that were removed; those of a configuration class are default changes instead.

    Includes old names that are not parameters but that a decorator still accepted: code with them worked.
    """
    owner = call.rpartition(".")[2]
    if owner in before.defaults and owner in after.defaults:
        return
    renamed = _renames(before, after, owner)
    accepted_before, accepted_after = (
        [*record.signatures[call], *sorted(record.renames.get(owner, {}))] for record in (before, after)
    )
    for name in dict.fromkeys(accepted_before):
        if name not in accepted_after:
            new_name = renamed.get(name, ABSENT)
            yield Change(kind="signature", name=f"{call}({name})", before=name, after=new_name)


def _has_signatures(record: Record) -> bool:
    return any(probe.name == SURFACE_PROBE and probe.outcome == "passed" for probe in record.probes)


def _renames(before: Record, after: Record, owner: str) -> dict[str, str]:
    """New names of arguments of ``owner`` by old name, from call sites and from the stack's own renames."""
    new_names: dict[str, str] = {}
    for record in (before, after):
        for site in record.call_sites:
            if site["call"].endswith(f".{owner}") and site["use"].isidentifier():
                new_names[site["use"]] = site["argument"]
        new_names |= record.renames.get(owner, {})
    return new_names


def _new_warnings(before: Record, after: Record) -> Iterator[Change]:
    """Deprecation warnings that only ``after`` has."""
    seen = {_without_numbers(warning) for warning in before.warnings}
    for warning in after.warnings:
        if _without_numbers(warning) not in seen:
            yield Change(kind="warning", name=str(warning["module"]), before=ABSENT, after=warning["message"])


def _without_numbers(warning: Mapping[str, Any]) -> tuple[str, str]:
    """The module and message of a warning; all numbers become 0, because steps and sizes vary."""
    return str(warning["module"]), re.sub(r"\d+", "0", str(warning["message"]))


COMPARISONS: Final[tuple[Callable[[Record, Record], Iterator[Change]], ...]] = (
    _fingerprint_changes,
    _default_changes,
    _call_site_changes,
    signature_changes,
    _new_warnings,
)


def moved_packages(
    before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    """The packages whose versions differ, with both versions; None for a package that is not installed."""
    names = sorted(before.keys() | after.keys())
    return {
        name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    }
