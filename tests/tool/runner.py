"""A small stand-in for GitHub's runner: the jobs of a workflow, each in a clone of its own.

Steps with ``run`` run as they do there; of the actions, those that move files do so, and the others nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


class Missing(SimpleNamespace):
    """A context, in which what is not there is empty."""

    def __getattr__(self, name: str) -> Any:
        return ""


def context(values: Mapping[str, Any]) -> Missing:
    return Missing(
        **{
            name.replace("-", "_"): context(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
        }
    )


@dataclass(kw_only=True)
class Runner:
    """Runs the workflow in ``path`` of the repository ``origin``; ``env`` is that of every step.

    ``lost`` are names of jobs that vanish before their first step; after the job ``cancel_after`` the run is
    cancelled. ``cache`` outlives a run.
    """

    path: Path
    origin: Path
    folder: Path
    env: Mapping[str, str]
    github: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    cancel_after: str = ""
    cache: dict[str, Path] = field(default_factory=dict)
    artifacts: dict[str, Path] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    summary: str = ""
    cancelled: bool = False

    def run(self) -> dict[str, str]:
        """The result of each job: ``success``, ``failure``, ``skipped`` or ``cancelled``."""
        content = yaml.safe_load(self.path.read_text())
        variables = {name: self.text(value) for name, value in content.get("env", {}).items()}
        for name, job in content["jobs"].items():
            needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            healthy = all(self.results[need] == "success" for need in needs)
            condition = job.get("if", "success()")
            if self.cancelled:
                self.results[name] = "cancelled"
            elif not self.holds(condition, healthy=healthy, env=variables):
                self.results[name] = "skipped"
            else:
                self.results[name] = self.job(name, job, variables)
            self.cancelled = self.cancelled or name == self.cancel_after
        return self.results

    def job(self, name: str, job: dict[str, Any], variables: dict[str, str]) -> str:
        table = self.value(job["strategy"]["matrix"]) if "strategy" in job else {"include": [{}]}
        # Two jobs of one matrix at a time; each has its own clone, and nothing of the other.
        with ThreadPoolExecutor(max_workers=2) as pool:
            done = pool.map(
                lambda numbered: self.steps(name, numbered[0], job, variables, numbered[1]),
                enumerate(table["include"]),
            )
            return "success" if all(list(done)) else "failure"

    def steps(
        self, name: str, number: int, job: dict[str, Any], variables: dict[str, str], row: dict[str, str]
    ) -> bool:
        title = self.text(job.get("name", name), matrix=row)
        if title in self.lost:
            return False
        work = self.folder / f"{name}-{number}"
        subprocess.run(["git", "clone", "--quiet", self.origin, work], check=True)
        (work.parent / f"{work.name}.output").touch()
        ok = True
        steps: dict[str, dict[str, Any]] = {}
        for step in job.get("steps", []):
            known: dict[str, Any] = {"matrix": row, "steps": steps, "env": variables}
            if not self.holds(step.get("if", "success()"), healthy=ok, **known):
                continue
            passed = self.step(step, work, variables, known)
            outcome = "success" if passed else "failure"
            if "id" in step:
                steps[step["id"]] = {"outcome": outcome, "outputs": self.read_output(work)}
            ok = ok and (passed or bool(step.get("continue-on-error")))
        self.outputs[name] = {
            key: self.text(value, steps=steps) for key, value in job.get("outputs", {}).items()
        }
        return ok

    def step(
        self, step: dict[str, Any], work: Path, variables: dict[str, str], known: dict[str, Any]
    ) -> bool:
        if "run" not in step:
            given = {key: self.text(value, **known) for key, value in step.get("with", {}).items()}
            return self.action(step["uses"].partition("@")[0], given, work)
        output, summary = (work.parent / f"{work.name}.{kind}" for kind in ("output", "summary"))
        own = {name: self.text(value, **known) for name, value in step.get("env", {}).items()}
        files = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
        completed = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-c", self.text(step["run"], **known)],
            cwd=work,
            env={**self.env, **variables, **own, **files},
            capture_output=True,
            text=True,
            check=False,
        )
        text = completed.stdout + completed.stderr
        self.log.append(f"{work.name}: {step['run']}\n{text}-> {completed.returncode}")
        if summary.is_file():
            self.summary = summary.read_text()
        return completed.returncode == 0

    def action(self, name: str, given: dict[str, str], work: Path) -> bool:
        kind = name.partition("/")[2]
        if kind == "upload-artifact":
            store = self.folder / "artifacts" / given["name"]
            files = list(_files(work, given["path"].split("\n")))
            _copy(files, store)
            self.artifacts[given["name"]] = store
            return bool(files) or given.get("if-no-files-found") != "error"
        if kind == "download-artifact":
            pattern = given.get("pattern", given.get("name", "")).replace("*", ".*")
            found = {key: path for key, path in self.artifacts.items() if re.fullmatch(pattern, key)}
            for key, path in found.items():
                target = work / given["path"] / (key if "pattern" in given else "")
                shutil.copytree(path, target, dirs_exist_ok=True)
            return bool(found) or "pattern" in given
        if kind == "cache/restore":
            keys = [key for key in self.cache if key.startswith(given["restore-keys"])]
            if keys:
                shutil.copytree(self.cache[keys[-1]], work / given["path"], dirs_exist_ok=True)
        if kind == "cache/save":
            self.cache[given["key"]] = self.folder / "caches" / given["path"]
            shutil.copytree(work / given["path"], self.cache[given["key"]])
        if kind == "upload-pages-artifact":
            return (work / given["path"] / "index.html").is_file()
        return True

    def read_output(self, work: Path) -> dict[str, str]:
        lines = (work.parent / f"{work.name}.output").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def text(self, value: Any, **known: Any) -> str:
        return EXPRESSION.sub(lambda match: str(self.value(match[0], **known)), str(value))

    def holds(self, condition: str, *, healthy: bool, **known: Any) -> bool:
        found = self.value(f"${{{{ {EXPRESSION.sub(lambda match: match[1], condition)} }}}}", **known)
        # As GitHub does: a condition that names no state of the run is for one that goes well.
        named = re.search(r"\b(always|cancelled|success|failure)\(\)", condition)
        return bool(found) and (healthy or (bool(named) and "success()" not in condition))

    def value(self, expression: str, **known: Any) -> Any:
        match = EXPRESSION.fullmatch(expression.strip())
        assert match, expression
        code = match[1].replace("&&", " and ").replace("||", " or ")
        code = re.sub(r"!(?!=)", " not ", code).strip().replace("\n", " ")
        needs = {
            name: {"result": result, "outputs": self.outputs.get(name, {})}
            for name, result in self.results.items()
        }
        names = {
            **{name: context(value) for name, value in known.items()},
            "needs": context(needs),
            "github": context(self.github),
            "inputs": context(self.inputs),
            "vars": context({"TUNEMATRIX_PAGES": "true"}),
            "cancelled": lambda: self.cancelled,
            "always": lambda: True,
            "success": lambda: True,
            "hashFiles": lambda _: "hash",
            "fromJSON": yaml.safe_load,
        }
        return eval(code, {"__builtins__": {}}, names)


def _files(work: Path, patterns: list[str]) -> Iterator[tuple[Path, Path]]:
    """The files of an artifact, and where they lie in it: below the folder that all patterns share."""
    patterns = [pattern for pattern in patterns if pattern]
    fixed = [pattern.partition("*")[0].rpartition("/")[0] for pattern in patterns]
    root = Path(os.path.commonpath(fixed)) if all(fixed) else Path()
    for pattern in patterns:
        for path in sorted(work.glob(pattern)):
            yield path, path.relative_to(work / root)


def _copy(files: list[tuple[Path, Path]], store: Path) -> None:
    store.mkdir(parents=True, exist_ok=True)
    for source, name in files:
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, store / name)
