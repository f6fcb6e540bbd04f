"""Upgrades: compare a baseline with a candidate, and say in one answer whether the upgrade is safe."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.version import Version

from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.base.versions import parse_version
from tunematrix.code import configurations, uses
from tunematrix.code import fix as fixes
from tunematrix.code.uses import Code
from tunematrix.locks import table
from tunematrix.locks.lock import public_version
from tunematrix.questions import candidate as candidates
from tunematrix.questions import files, kept, unreleased
from tunematrix.questions.candidate import Baseline, Candidate, Progress
from tunematrix.questions.files import Files
from tunematrix.questions.requests import advise, fix_requests, nothing_moves, requested_packages
from tunematrix.run import artifacts, keys
from tunematrix.run.options import Options
from tunematrix.verdict import diff, usage
from tunematrix.verdict.answer import (
    BREAKS,
    CANNOT_TELL,
    NOTHING_TO_TEST,
    Judgement,
    Knowledge,
    judge,
)
from tunematrix.verdict.diff import Diff
from tunematrix.verdict.edits import describe_edit
from tunematrix.verdict.prediction import Prediction, predict
from tunematrix.verdict.sentences import counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Fix:
    """A further request that was tried together with the first ones, because a known issue names it."""

    requests: tuple[str, ...]
    judgement: Judgement
    moved: Mapping[str, tuple[str | None, str | None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to one request and its evidence; ``candidate`` is None if the resolver refused it."""

    baseline: str
    requests: tuple[str, ...]
    judgement: Judgement
    candidate: Candidate | None = None
    before: Record | None = None
    after: Record | None = None
    fix: Fix | None = None
    nearest: tuple[str, str] | None = None  # the last release that does not break, and its answer
    advice: tuple[str, ...] = ()
    reason: str = ""
    details: Path | None = None
    prediction: Prediction | None = None
    files: Files | None = None
    unread: tuple[str, ...] = ()  # files of the team's code that cannot be parsed, with the reason
    fixed: Mapping[str, str] = field(default_factory=dict)  # by changed file of the team's, its diff
    given: tuple[str, ...] = ()  # options of the command that further commands need too
    notes: tuple[str, ...] = ()  # where the two environments are not what their files say
    source: str = ""  # the file that the baseline was read from; its cell has a name that nobody knows

    @property
    def answer(self) -> str:
        return self.judgement.answer

    @property
    def diff(self) -> Diff:
        return self.judgement.diff

    @property
    def edits(self) -> list[str]:
        return [describe_edit(change) for change in self.diff.of_kind("call_site")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Upgrader:
    """What every request of one command shares: the baseline, the options, and where records lie."""

    base: Baseline
    options: Options
    store: Store
    progress: Progress
    knowledge: Knowledge = field(default_factory=lambda: Knowledge.load(table.constraints_folder()))
    baselines: list[Record] = field(default_factory=list)  # its record, once it has run

    def evaluate(
        self, requests: Sequence[str], *, with_fix: bool = True, against: Path | None = None
    ) -> Answer:
        """Run baseline and candidate, load the baseline's checkpoints in the candidate, and judge.

        The candidate has exactly what the file ``against`` pins, if there is one. Raises ``UsageError`` for a
        request that asks for nothing new, and for a model that cannot be had.
        """
        requested = tuple(requests)
        try:
            candidate = (
                candidates.from_file(self.base, against, self.store)
                if against
                else candidates.resolve(self.base, requested, self.store)
            )
        except UnresolvableError as error:
            unknown = Judgement(answer=CANNOT_TELL, diff=Diff(verdict="unknown"), untested=("the candidate",))
            return self._without_run(requested, unknown, str(error))
        not_installed = unreleased.not_installed(candidate, own_scripts=bool(self.options.scripts))
        if not_installed and unreleased.prevents_run(self.base, candidate):
            unknown = Judgement(answer=CANNOT_TELL, diff=Diff(verdict="unknown"), untested=not_installed)
            return self._without_run(requested, unknown, "\n".join(not_installed), candidate)
        if reason := nothing_moves(candidate, self.base):
            same = Judgement(answer=NOTHING_TO_TEST, diff=Diff(verdict="same"))
            return self._without_run(requested, same, reason, candidate)
        prediction = predict(self.base.packages, candidate.packages, self.knowledge.rungs)
        if with_fix:
            self.progress(describe_prediction(prediction))
        before = self._run_baseline()
        after = self._run_candidate(candidate, before)
        exchanged = self._exchange_files(candidate, before, after) if with_fix else None
        judgement = files.judge_with(before, after, self.knowledge, exchanged, not_installed)
        broken = judgement.answer == BREAKS and with_fix and not against
        return Answer(
            baseline=self.base.cell.name,
            source=self.base.source,
            requests=requested,
            judgement=judgement,
            candidate=candidate,
            before=before,
            after=after,
            fix=self._try_fix(requested, after) if broken else None,
            nearest=self._nearest(candidate, before) if broken else None,
            advice=tuple(advise(self.base, candidate)),
            reason=after.error.one_line if after.error else "",
            prediction=prediction,
            files=exchanged,
            unread=self.knowledge.code.unreadable if self.knowledge.code else (),
            notes=(*self.base.notes, *candidate.notes),
            details=candidates.candidate_store(self.store).cell_folder(candidate.cell.name) / "changes.md",
        )

    def _without_run(
        self, requests: tuple[str, ...], judgement: Judgement, reason: str, candidate: Candidate | None = None
    ) -> Answer:
        return Answer(
            baseline=self.base.cell.name,
            source=self.base.source,
            requests=requests,
            judgement=judgement,
            candidate=candidate,
            reason=reason,
            notes=(*self.base.notes, *(candidate.notes if candidate else ())),
        )

    def _run_baseline(self) -> Record:
        """The record of the baseline; runs it once for all requests, also with ``rerun``."""
        if self.baselines:
            return self.baselines[0]
        self.progress(f"baseline {self.base.cell.name}: running, unless its record can be reused")
        before = candidates.run_baseline(self.base, dataclasses.replace(self.options, keep_artifacts=True))
        self.progress(_how(before))
        _check_model(before, self.options.model)
        self.baselines.append(before)
        return before

    def _run_candidate(self, candidate: Candidate, before: Record) -> Record:
        self.progress(f"candidate {candidate.cell.name}: running, unless its record can be reused")
        saved = artifacts.folder_of(self.base.store, self.base.cell.name)
        exchange = saved if artifacts.belong_to(saved, before) else None
        # What the scripts save in the candidate, the baseline reads: can one roll back?
        options = dataclasses.replace(
            self.options, exchange=exchange, keep_artifacts=bool(self.options.scripts)
        )
        after = candidates.run(candidate, options, self.store)
        self.progress(_how(after))
        diff.check_comparable(before, after)
        return after

    def _exchange_files(self, candidate: Candidate, before: Record, after: Record) -> Files | None:
        """What each stack reads of the other's files; of a team's own scripts, of those that they keep.

        None where own tests say what is kept, and where there is no stack to do it.
        """
        imported = all(record.stage("import").outcome == "passed" for record in (before, after))
        whole = all(record.packages.keys() >= files.STACK for record in (before, after))
        if self.options.scripts and imported:
            return kept.swap(self.base, candidate, self.store, after, self.progress)
        if self.options.scripts or keys.suite_folder() != keys.SUITE or not (imported and whole):
            return None
        self.progress("files: each stack reads what the other saves, unless that is known")
        return files.swap(self.base, candidate, self.store, self.knowledge, self.progress)

    def fix(self, answer: Answer, path: Path) -> Answer:
        """Make the mechanical edits in the file or the folder ``path``, and run the candidate with them.

        The baseline stays the one that ran the code as it was.
        """
        if not (answer.candidate and answer.before and answer.after):
            return answer
        surface = {
            change.name: (change.before, change.after) for change in answer.diff.of_kind(*usage.SURFACE)
        }
        code = self.knowledge.code or uses.read(path)
        places = usage.places(code, surface, usage.known_effects(answer.diff))
        edits = [edit for edit in usage.edits(places) if edit.file.endswith(".py")]
        made = dict(fixes.apply(path if path.is_dir() else path.parent, edits))
        changed = [name for name, diff in made.items() if fixes.is_made(diff)]
        if not changed:
            return dataclasses.replace(answer, fixed=made or answer.fixed)
        self.progress(f"fixed {', '.join(changed)}; running the candidate with them")
        options = dataclasses.replace(self.options, keep_artifacts=bool(self.options.scripts))
        after = candidates.run(answer.candidate, options, self.store)
        self.progress(_how(after))
        knowledge = dataclasses.replace(self.knowledge, code=read_code(path, self.options))
        exchanged = answer.files
        if self.options.scripts:  # what the changed scripts save is another thing
            exchanged = self._exchange_files(answer.candidate, answer.before, after)
        not_installed = unreleased.not_installed(answer.candidate, own_scripts=bool(self.options.scripts))
        judgement = files.judge_with(answer.before, after, knowledge, exchanged, not_installed)
        return dataclasses.replace(answer, after=after, judgement=judgement, files=exchanged, fixed=made)

    def _try_fix(self, requested: tuple[str, ...], after: Record) -> Fix | None:
        """Try the first fix of a known issue that the resolver can combine with the request."""
        issues = self.knowledge.ledger.known_issues(after)
        for text in dict.fromkeys(issue.fix for issue in issues.values()):
            for extra in fix_requests(text, requested):
                self.progress(f"known fix: trying {', '.join(extra)} with it")
                answer = self.evaluate([*requested, *extra], with_fix=False)
                if answer.candidate and answer.after:
                    return Fix(requests=extra, judgement=answer.judgement, moved=answer.candidate.moved)
        return None

    def _nearest(self, candidate: Candidate, before: Record) -> tuple[str, str] | None:
        """The highest recorded release below the requested one that does not break, and its answer."""
        requested = requested_packages(candidate, self.base)
        if len(requested) != 1:
            return None
        (package,) = requested
        limit, own = (
            parse_version(public_version(packages.get(package, "0")))
            for packages in (candidate.packages, self.base.packages)
        )
        best: tuple[Version, str] | None = None
        for record in candidates.candidate_store(self.store).records():
            version = parse_version(public_version(record.packages.get(package, "0")))
            if not (version and own and limit and own < version < limit) or (best and version <= best[0]):
                continue
            if set(diff.moved_packages(self.base.packages, record.packages)) <= {package}:
                answer = judge(before, record, self.knowledge).answer
                best = (version, answer) if answer not in (BREAKS, CANNOT_TELL) else best
        return (f"{package} {best[0]}", best[1]) if best else None


def describe_prediction(prediction: Prediction) -> str:
    """What the ladder lets expect, in a line, before anything runs."""
    counts = Counter(each.severity for each in prediction.found)
    if not prediction.rungs:
        return "expected: nothing is known of these releases"
    if not (told := counted(counts)):
        return "expected: nothing; the ladder saw these releases change nothing above info"
    first = prediction.found[0]
    return f"expected: {told}, such as {first.rung.package} {first.rung.after}: {first.title}"


def read_code(path: Path | None, options: Options) -> Code | None:
    """What the team's code uses: the Python files in ``path``, by default those beside its scripts.

    None where neither is known. Configurations of trl's command line are code too.
    """
    scripts = options.scripts
    folder = path or (scripts.folder if scripts else None)
    if folder is None:
        return None
    if path is None and not any(uses.python_files(folder)):
        code = uses.Code(uses=(), files=0)
    else:
        code = uses.read(folder)
    if scripts is None:
        return code
    found = [
        use
        for command, config in scripts.trl_configs()
        for use in configurations.of_trl(config, command, scripts.folder)
    ]
    return dataclasses.replace(code, uses=(*code.uses, *found))


def _how(record: Record) -> str:
    return "  reused" if record.reused else f"  ran in {record.seconds:.0f} s"


# What a Hub says of a model that is not there, or that the token does not open.
NO_MODEL: Final = re.compile(r"\b40[134]\b|not found|no such|does not exist|gated|private", re.IGNORECASE)


def _check_model(before: Record, model: str) -> None:
    """Raise ``UsageError`` for a model that no Hub has, ``InfrastructureError`` if the Hub is silent."""
    if any(stage.outcome == "passed" and stage.name != "import" for stage in before.stages):
        return
    download = before.stage("download")
    error = download.error or before.error
    if before.outcome == "skipped" and error:
        kind = UsageError if NO_MODEL.search(error.message) else InfrastructureError
        raise kind(f"--model {model} cannot be had: {error.message}")
