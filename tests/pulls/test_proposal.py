"""``ci propose``: one branch and one pull request, against a local server and a local remote."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.pulls.github import GitHub
from tests.pulls.matrix import tunematrix

PROPOSE = ("ci", "propose", "constraints", "--branch", "locks", "--title", "Locks", "--body", "news.md")


def git(*arguments: str, folder: str = ".") -> str:
    return subprocess.run(
        ["git", "-C", folder, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(autouse=True)
def _repository(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("GITHUB_REF_NAME", "main")
    github.pulls.clear()
    git("init", "--quiet", "--bare", "origin.git")
    git("init", "--quiet", "--initial-branch", "main")
    git("remote", "add", "origin", "origin.git")
    Path("constraints").mkdir()
    Path("constraints/latest.txt").write_text("trl==1.0\n")
    Path("constraints/old.txt").write_text("trl==0.9\n")
    Path("news.md").write_text("news\n")
    git("add", "constraints")
    git("-c", "user.name=x", "-c", "user.email=x@y", "commit", "--quiet", "--message", "one")
    git("push", "--quiet", "origin", "main")


def test_what_changed_is_one_commit_and_one_pull_request(github: GitHub) -> None:
    Path("constraints/latest.txt").write_text("trl==1.1\n")
    Path("constraints/new.txt").write_text("trl==1.2\n")
    Path("constraints/old.txt").unlink()
    Path("elsewhere.txt").write_text("not proposed\n")
    assert tunematrix(*PROPOSE) == 0
    (pull,) = github.pulls
    assert [pull[key] for key in ("title", "body", "base")] == ["Locks", "news\n", "main"]
    changed = git("diff", "--name-status", "--no-renames", "main", "locks", folder="origin.git")
    assert changed.split("\n") == [
        "M\tconstraints/latest.txt",
        "A\tconstraints/new.txt",
        "D\tconstraints/old.txt",
    ]
    assert git("log", "-1", "--format=%an %s", "locks", folder="origin.git") == "tunematrix Locks"


def test_the_next_proposal_replaces_the_open_one(github: GitHub) -> None:
    for number in (1, 2):
        git("switch", "--quiet", "main")
        Path("constraints/latest.txt").write_text(f"trl==1.{number}\n")
        Path("news.md").write_text(f"news {number}\n")
        assert tunematrix(*PROPOSE) == 0
    (pull,) = github.pulls
    assert pull["body"] == "news 2\n"
    assert git("rev-list", "--count", "main..locks", folder="origin.git") == "1"
    assert git("show", "locks:constraints/latest.txt", folder="origin.git") == "trl==1.2"


def test_nothing_new_is_no_proposal(github: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    Path("elsewhere.txt").write_text("not proposed\n")
    assert tunematrix(*PROPOSE) == 0
    assert "nothing to propose" in capsys.readouterr().out
    assert github.pulls == []
    assert "locks" not in git("branch", folder="origin.git")


@pytest.mark.parametrize("branch", ["main", "--upload-pack=x", "a b", "refs/heads/main", "Main", "x" * 99])
def test_only_a_branch_of_its_own_is_replaced(branch: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("constraints/latest.txt").write_text("trl==1.1\n")
    assert (
        tunematrix("ci", "propose", "constraints", f"--branch={branch}", "--title=x", "--body=news.md") == 2
    )
    assert "name a branch of its own" in capsys.readouterr().err


def test_a_remote_that_refuses_is_one_message(github: GitHub, capsys: pytest.CaptureFixture[str]) -> None:
    git("remote", "set-url", "origin", "nowhere.git")
    Path("constraints/latest.txt").write_text("trl==1.1\n")
    assert tunematrix(*PROPOSE) == 2
    assert "error: git push: " in capsys.readouterr().err
    assert github.pulls == []
