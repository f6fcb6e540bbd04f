"""Two weeks of ``matrix.yml`` with planted events: every step runs, and ends in the right issues."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.pulls.github import REPOSITORY, TOKEN, GitHub, serving
from tests.pulls.matrix import CELLS, MODEL, entry, write_table
from tests.tool.planted_nox import LOCK
from tests.tool.runner import Runner

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/matrix.yml"
RAISES = {"align": "got an unexpected argument 'processor'"}
OTHER = {"generate": "no chat template"}
TRIED_AGAIN = {"again": True, "attempts": {"generate": 2}}
pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]


def date(day: int) -> str:
    return f"2026-11-{day:02}"


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Team:
    """A repository, its GitHub, and the state that runs leave: the cache of the service."""

    folder: Path
    github: GitHub
    env: dict[str, str]
    day: int = 0
    cache: dict[str, Path] = field(default_factory=dict)
    last: Runner | None = None

    def run(self, plan: dict[str, Any], release: str = "1.16.0", **options: Any) -> dict[str, str]:
        """Run the workflow of the next day; returns the results of its jobs."""
        self.day += 1
        now = f"{date(self.day)}T03:17:00Z"
        planned = {**plan, "releases": {"latest": release}, "now": now}
        (self.folder / "plan.json").write_text(json.dumps(planned))
        (self.folder / "now").write_text(now)
        state = {
            "token": TOKEN,
            "run_id": self.day,
            "run_attempt": 1,
            "ref_name": "main",
            "event": {"repository": {"default_branch": "main"}, "schedule": "17 3 * * 0,2-6"},
        }
        (self.folder / str(self.day)).mkdir()
        self.last = Runner(
            path=WORKFLOW,
            origin=self.folder / "origin.git",
            folder=self.folder / str(self.day),
            env=self.env,
            github=state,
            inputs={"model": MODEL},
            cache=self.cache,
            **options,
        )
        return self.last.run()

    @property
    def issues(self) -> list[str]:
        return [issue["state"] for issue in self.github.issues]

    @property
    def proposals(self) -> int:
        return len(self.github.pulls)

    def merge_proposal(self) -> None:
        git("fetch", "--quiet", "origin")
        git("merge", "--quiet", "origin/locks")
        git("push", "--quiet", "origin", "main")
        self.github.pulls.clear()

    def add_to_ledger(self, text: str) -> None:
        ledger = Path("constraints/known-issues.toml")
        ledger.write_text(f"{ledger.read_text()}{text}")
        git("commit", "--quiet", "--all", "--message", "known")
        git("push", "--quiet", "origin", "main")


@pytest.fixture(name="team")
def _team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    write_table()
    table = Path("constraints/matrix.toml")
    table.write_text(table.read_text().replace('name = "latest"\n', 'name = "latest"\nrule = "latest"\n'))
    for cell in CELLS:
        Path(f"constraints/{cell}.txt").write_text(LOCK.format("1.16.0"))
    Path("noxfile.py").write_text("from tunematrix.nox import sessions\n\nsessions()\n")
    git("init", "--quiet", "--bare", "--initial-branch", "main", str(tmp_path / "origin.git"))
    git("init", "--quiet", "--initial-branch", "main")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    git("remote", "add", "origin", str(tmp_path / "origin.git"))
    git("push", "--quiet", "--set-upstream", "origin", "main")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {
        "pip": f'echo "$@" >> {tmp_path}/installed',
        "gh": "exit 0",
        "date": f'exec /bin/date --date "$(cat {tmp_path}/now)" "$@"',
        "tunematrix": f'exec {sys.executable} -m tunematrix "$@"',
        "nox": f'PYTHONPATH={ROOT} exec {sys.executable} -m tests.tool.planted_nox "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    with serving() as github:
        env = {
            "HOME": str(tmp_path),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "PLAN": str(tmp_path / "plan.json"),
            "GITHUB_API_URL": github.url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_REF_NAME": "main",
            "GITHUB_SERVER_URL": "https://github.com",
        }
        yield Team(folder=tmp_path, github=github, env=env)


BAD = {"locks": "success", "plan": "success", "cell": "success", "frozen": "skipped", "summary": "failure"}
BAD |= {"issues": "success", "propose": "success", "page": "success"}
GOOD = BAD | {"summary": "success"}


def check(team: Team, found: dict[str, str], expected: dict[str, str]) -> None:
    assert team.last
    assert found == expected, "\n".join(team.last.log)
    assert TOKEN not in "".join(team.last.log)


def test_a_quiet_day_and_a_lost_cell(team: Team) -> None:
    check(team, team.run({}), GOOD)
    assert (team.issues, team.proposals) == ([], 0)
    assert team.last
    assert team.last.summary.startswith(f"# Compatibility summary: {MODEL}\n\n3 passed\n")
    check(team, team.run({}, lost=("old",)), BAD | {"cell": "failure"})
    assert "1 unknown" in team.last.summary
    assert (team.issues, team.proposals) == ([], 0)
    assert {name: cell["runs"] for name, cell in history(team).items()} == dict.fromkeys(CELLS, 1)
    installed = (team.folder / "installed").read_text().splitlines()
    assert set(installed) == {"install -e .", "install --only-binary :all: -e ."}


@pytest.mark.nightly
def test_two_weeks(team: Team) -> None:
    check(team, team.run({}), GOOD)
    assert (team.issues, team.proposals) == ([], 0)

    # A release that breaks: an issue, and a proposal of its lock.
    check(team, team.run({"latest": RAISES}, "1.17.0"), BAD)
    assert (team.issues, team.proposals) == (["open"], 1)
    assert "trl 1.16.0 -> 1.17.0" in team.github.pulls[0]["body"]
    assert "1 failed" in team.github.pulls[0]["body"]
    [broken] = history(team)["latest"]["findings"]
    assert (broken["severity"], broken["since"]) == ("broken", history(team)["latest"]["last"])

    # It lasts: nothing more is opened; what did not change is not run again.
    check(team, team.run({"latest": RAISES}, "1.17.0"), BAD)
    assert (team.issues, team.proposals, team.github.comments) == (["open"], 1, [])
    assert reused(team) == {"old", "new", "latest"}

    # A person merges the proposal.
    team.merge_proposal()
    check(team, team.run({"latest": RAISES}, "1.17.0"), BAD)
    assert (team.issues, team.proposals) == (["open"], 0)

    # The job is lost, the machine fails, the run is cancelled: nothing is closed, whatever would be.
    check(team, team.run({}, "1.17.0", lost=("latest",)), BAD | {"cell": "failure"})
    check(team, team.run({"latest": "cut off"}, "1.17.0"), BAD)
    assert history(team)["latest"]["findings"] == [broken], "what is no evidence changes nothing"
    cancelled = dict.fromkeys(("frozen", "summary", "issues", "propose", "page"), "cancelled")
    check(team, team.run({}, "1.17.0", cancel_after="cell"), BAD | cancelled)
    assert (team.issues, team.github.comments) == (["open"], [])

    # A release fixes it.
    check(team, team.run({}, "1.18.0"), GOOD)
    assert (team.issues, team.proposals) == (["closed"], 1)
    assert "Over: tested in `latest`" in team.github.comments[0]["body"]
    latest, over = history(team)["latest"], history(team, broken["name"])["latest"]
    assert (latest["outcome"], latest["findings"]) == ("passed", [])
    assert (over["since"], over["until"]) == (broken["since"], latest["last"])
    team.merge_proposal()

    # Another failure in two cells, of which one is fixed first.
    check(team, team.run({"old": OTHER, "new": OTHER}, "1.18.0"), BAD)
    check(team, team.run({"old": OTHER}, "1.18.0"), BAD)
    assert team.issues == ["closed", "open"]
    assert "**broken** in `old`," in team.github.issues[1]["body"]
    check(team, team.run({}, "1.18.0"), GOOD)
    assert team.issues == ["closed", "closed"]

    # The first comes back, and is upstream's.
    check(team, team.run({"latest": RAISES}, "1.18.0"), BAD)
    assert team.issues == ["open", "closed"]
    team.add_to_ledger(entry(team.github.issues[0]["body"]))
    check(team, team.run({"latest": RAISES}, "1.18.0"), GOOD)
    check(team, team.run({"latest": RAISES}, "1.18.0"), GOOD)
    assert (team.day, team.issues, team.proposals) == (14, ["closed", "closed"], 0)
    assert len(team.github.comments) == 3

    # What did not change was reused, which is no run; the run that the machine cut off counts for itself.
    past = history(team)
    runs = {name: (cell["runs"], cell["interrupted"], cell["outcome"]) for name, cell in past.items()}
    assert runs == {"old": (3, 0, "passed"), "new": (3, 0, "passed"), "latest": (5, 1, "failed")}
    [known] = past["latest"]["findings"]
    assert (known["title"], known["since"]) == (broken["title"], past["latest"]["last"]), "a new row"
    assert known["name"] in Path("constraints/known-issues.toml").read_text(), "it has the ledger's name now"
    assert not any(cell["flakes"] for cell in past.values())


def test_four_days(team: Team) -> None:
    check(team, team.run({}), GOOD)

    # A release breaks one cell; a stage of another passes on its second attempt.
    check(team, team.run({"latest": RAISES, "new": TRIED_AGAIN}, "1.17.0"), BAD)
    assert (team.issues, team.proposals) == (["open"], 1)

    # It lasts, and another cell fails with nothing changed.
    check(team, team.run({"latest": RAISES, "new": {"again": True, **OTHER}}, "1.17.0"), BAD)
    assert (team.issues, team.proposals) == (["open", "open"], 1)
    cells = history(team)
    assert standing(cells["latest"], "failures") == [("align", date(2), 1)]
    ((finding, since, steps),) = standing(cells["latest"], "findings")
    assert (since, steps) == (date(2), 2)  # in two steps: the record of the other cell is another each day
    ((flake, *_),) = standing(cells["new"], "findings")

    # A release fixes the one, the other passes.
    check(team, team.run({"new": {"again": True}}, "1.18.0"), GOOD)
    assert (team.issues, team.proposals) == (["closed", "closed"], 1)
    cells = history(team)
    assert {name: (cell["outcome"], cell["since"][:10]) for name, cell in cells.items()} == {
        "old": ("passed", date(1)),
        "new": ("passed", date(4)),
        "latest": ("passed", date(4)),
    }
    assert all(standing(cell, "failures") == standing(cell, "findings") == [] for cell in cells.values())
    assert sightings(team, finding) == [("latest", date(2), date(4))]
    assert sightings(team, flake) == [("new", date(3), date(4))]
    assert [flake["text"] for flake in cells["new"]["flakes"]] == [
        f"generate: passed 3, failed 1 times with nothing changed, last failed {date(3)}",
        f"generate: passed on another attempt once, last {date(2)}",
    ]


def asked(team: Team, *finding: str) -> list[dict[str, Any]]:
    """The cells of ``history --json`` after the last run."""
    assert team.last
    completed = subprocess.run(
        [sys.executable, "-m", "tunematrix", "history", *finding, "--json"],
        cwd=team.last.folder / "summary-0",
        env=team.env,
        capture_output=True,
        text=True,
        check=True,
    )
    cells: list[dict[str, Any]] = json.loads(completed.stdout)["cells"]
    return cells


def history(team: Team, *finding: str) -> dict[str, dict[str, Any]]:
    """What the history of the last run says of each cell, or of a finding in each."""
    return {cell["cell"]: cell for cell in asked(team, *finding)}


def standing(cell: dict[str, Any], kind: str) -> list[tuple[str, str, int]]:
    """The failures, or the findings of what is broken: since which day, and in how many runs or steps."""
    there = [one for one in cell[kind] if one["severity"] in ("", "broken")]
    return [(one["name"], one["since"][:10], one["runs"]) for one in there]


def sightings(team: Team, finding: str) -> list[tuple[str, str, str]]:
    """Where a finding is or was, and from which day to which."""
    return [(cell["cell"], cell["since"][:10], cell["until"][:10]) for cell in asked(team, finding)]


def reused(team: Team) -> set[str]:
    assert team.last
    paths = [path for store in team.last.artifacts.values() for path in store.glob("*/*.json")]
    contents = {path.stem: path.read_text() for path in paths if path.stem in CELLS}
    return {cell for cell, text in contents.items() if re.search(r'"reused": true', text)}
