"""``pr upgrade`` in real repositories: what is compared, what is written, and when nothing runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pulls.conftest import run
from tunematrix.base.errors import UnresolvableError
from tunematrix.locks import imported, package_files, uv
from tunematrix.locks.imported import ImportedLock
from tunematrix.questions.upgrade import Answer, Upgrader
from tunematrix.verdict.answer import BREAKS, SAFE, Judgement
from tunematrix.verdict.diff import Diff
from tunematrix.verdict.findings import Finding

STACK = {"transformers": "4.57.6", "peft": "0.18.0", "trl": "0.26.2"}
Commit = Callable[[dict[str, str | None]], None]


def lock_of(**versions: str) -> str:
    return "".join(f"{name}=={version}\n" for name, version in {**STACK, **versions}.items())


def uv_lock(**versions: str) -> str:
    packages = {**STACK, **versions}.items()
    entries = (f'[[package]]\nname = "{name}"\nversion = "{version}"\n' for name, version in packages)
    return "version = 1\n" + "".join(
        f'{entry}source = {{ registry = "https://x/simple" }}\n' for entry in entries
    )


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def write(files: dict[str, str | None]) -> None:
    for name, text in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
    git("add", "--all")
    git("commit", "--quiet", "--message", "x", "--allow-empty")


@pytest.fixture(name="judgements")
def _judgements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A repository on the branch ``bump``; the runs are stand-ins, and are listed as (base, head)."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_REF", "GITHUB_BASE_REF", "TUNEMATRIX_CONSTRAINTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git("init", "--quiet", "--initial-branch", "main")
    git("config", "user.name", "x")
    git("config", "user.email", "x@example.org")
    seen: list[tuple[str, str]] = []

    def import_lock(path: Path, python: str, _: object = None) -> ImportedLock:
        seen.append((path.as_posix(), path.read_text()))
        return ImportedLock(packages=package_files.read(path, python).pins, added=(), moved={}, left_out=())

    def evaluate(upgrader: Upgrader, requests: Any, *, against: Path) -> Answer:
        found = upgrader.base.packages["trl"]
        new = imported.import_lock(against, "3.11").packages["trl"]
        places = tuple(f"train.py:{line}" for line in range(1, 13))
        default = Finding(
            id="default-x", severity="default", title="train.py:1: y=1", fields=(), places=places[:1]
        )
        gone = Finding(
            id="edit-x",
            severity="edit",
            title="x,\n::error::is gone",
            fields=(),
            places=places[: 9 if new == "9.9" else 12],
        )
        word = BREAKS if new.startswith("9") else SAFE
        judgement = Judgement(answer=word, diff=Diff(verdict="same"), findings=(default, gone))
        moved = {"trl": (found, new)}
        return Answer(baseline="base", requests=tuple(requests), judgement=judgement, reason=str(moved))

    def compile_over(packages: Any, requirements: Any, *_: object) -> str:
        assert "trl==0.26.2" in requirements
        return "transformers==4.57.6\nnumpy==2.0\n"

    monkeypatch.setattr(imported, "import_lock", import_lock)
    monkeypatch.setattr(Upgrader, "evaluate", evaluate)
    monkeypatch.setattr(uv, "compile_over", compile_over)
    monkeypatch.setattr(uv, "torch_options", lambda *_: [])
    return seen


def pull(base: dict[str, str | None], head: dict[str, str | None], *options: str) -> tuple[int, Any]:
    """The exit code and the answer for a pull request."""
    write({"README.md": "x", **base})
    git("switch", "--quiet", "--create", "bump")
    write(head)
    git("switch", "--quiet", "main")
    write({"later.txt": "main went on"})
    git("switch", "--quiet", "bump")
    code = run("upgrade", "--base", "main", *options)
    path = Path("answer/answer.json")
    return code, json.loads(path.read_text()) if path.exists() else None


def test_the_pins_at_the_merge_base_are_compared_with_those_at_the_head(
    judgements: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_REF", "refs/pull/7/merge")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    code, answer = pull(
        {
            "requirements.txt": "-r base.txt\n",
            "base.txt": lock_of(),
            "docs/requirements.txt": "sphinx==8.0\n",
        },
        {"base.txt": lock_of(trl="0.29.0"), "docs/requirements.txt": "sphinx==8.1\n"},
    )
    assert code == 0
    (base, old), (head, _) = judgements
    assert (base.endswith("/base/requirements.txt"), head, old) == (True, "requirements.txt", "-r base.txt\n")
    assert answer["answer"] == "SAFE"
    assert answer["reason"] == "{'trl': ('0.26.2', '0.29.0')}"
    assert answer["pins"] == {"file": "requirements.txt", "others": ["docs/requirements.txt"]}
    assert answer["pull_request"] == 7
    assert Path("summary.md").read_text() == Path("answer/answer.md").read_text()
    assert (
        subprocess.run(["git", "worktree", "list"], capture_output=True, check=True).stdout.count(b"\n") == 1
    )


def test_the_lines_to_edit_are_annotated_ten_at_most(
    judgements: list[tuple[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    write({"src/train.py": "import trl\n"})
    head: dict[str, str | None] = {"requirements.txt": lock_of(trl="9.9")}
    code, _ = pull({"requirements.txt": lock_of()}, head, "--code", "src")
    assert code == 1
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("::")]
    assert len(lines) == 10
    assert lines[0] == "::error file=src/train.py,line=1,title=tunematrix%3A edit::x, ::error::is gone"
    assert lines[9] == "::warning file=src/train.py,line=1,title=tunematrix%3A default::y=1"
    assert len([line for line in lines if line.startswith("::error ")]) == 9
    write({"requirements.txt": lock_of(trl="9.9.9")})
    assert run("upgrade", "--base", "main") == 1
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("::")]
    assert len(lines) == 11
    assert lines[-1].startswith("::notice title=tunematrix::3 more lines of your code")


@pytest.mark.parametrize(
    ("base", "head", "file"),
    [
        ({"uv.lock": uv_lock()}, {"uv.lock": uv_lock(trl="1.0"), "requirements.txt": lock_of()}, "uv.lock"),
        (
            {"uv.lock": uv_lock()},
            {"uv.lock": None, "requirements.txt": lock_of(trl="1.0")},
            "requirements.txt",
        ),
        (
            {"uv.lock": uv_lock(ruff="1"), "requirements.txt": lock_of()},
            {"uv.lock": uv_lock(ruff="2"), "requirements.txt": lock_of(trl="1.0")},
            "requirements.txt",
        ),
        (
            {"gpu/requirements.txt": lock_of()},
            {"gpu/requirements.txt": lock_of(trl="1")},
            "gpu/requirements.txt",
        ),
        ({"constraints/a.txt": lock_of()}, {"constraints/a.txt": lock_of(trl="1")}, "constraints/a.txt"),
        ({"requirements.txt": lock_of()}, {"requirements.txt": lock_of(numpy="2.1")}, "requirements.txt"),
        ({"requirements.txt": lock_of()}, {"requirements.txt": lock_of(wandb="1")}, "requirements.txt"),
        (
            {"pyproject.toml": '[project]\ndependencies = ["trl==1.0"]\n'},
            {"pyproject.toml": '[project]\ndependencies = ["trl==1.1"]\n'},
            "pyproject.toml",
        ),
    ],
)
def test_the_first_file_that_moves_the_stack_is_used(
    judgements: list[tuple[str, str]], base: dict[str, str | None], head: dict[str, str | None], file: str
) -> None:
    code, answer = pull(base, head)
    assert (code, answer["pins"]["file"]) == (0, file)
    assert len(judgements) == 2


@pytest.mark.parametrize(
    ("base", "head", "reason"),
    [
        ({}, {"train.py": "x"}, "no file of pins changed"),
        ({"requirements.txt": lock_of()}, {"train.py": "x"}, "no file of pins changed"),
        (
            {"requirements.txt": lock_of(ruff="0.1")},
            {"requirements.txt": lock_of(ruff="0.2")},
            "ruff 0.1 -> 0.2: neither of the stack nor required by it",
        ),
        (
            {"requirements.txt": lock_of()},
            {"requirements.txt": f"# a comment\n{lock_of()}"},
            "nothing moves: requirements.txt lists what it listed",
        ),
        (
            {"docs/requirements.txt": "sphinx==8.0\n"},
            {"docs/requirements.txt": "sphinx==8.1\n"},
            "what changed pins nothing of the stack: docs/requirements.txt",
        ),
        ({"pyproject.toml": "[tool.x]\n"}, {"pyproject.toml": "[tool.y]\n"}, "pyproject.toml"),
        ({"requirements.txt": lock_of()}, {"requirements.txt": None}, "requirements.txt"),
    ],
)
def test_what_is_not_of_the_stack_passes_at_once(
    judgements: list[tuple[str, str]],
    capsys: pytest.CaptureFixture[str],
    base: dict[str, str | None],
    head: dict[str, str | None],
    reason: str,
) -> None:
    code, answer = pull(base, head)
    assert (code, answer["answer"]) == (0, "NOTHING TO TEST")
    assert answer["reason"].endswith(reason)
    assert capsys.readouterr().out == f"NOTHING TO TEST: {answer['reason']}\n"
    assert judgements == []


def test_the_teams_own_scripts_may_use_what_the_stack_does_not_require(
    judgements: list[tuple[str, str]],
) -> None:
    workload = '[[stage]]\nname = "sft"\nrun = "true"\n'
    base = {"requirements.txt": lock_of(boto3="1.0", ruff="1"), "workload.toml": workload}
    code, answer = pull({**base}, {"requirements.txt": lock_of(boto3="1.1", ruff="1")})
    assert (code, answer["answer"], len(judgements)) == (0, "SAFE", 2)
    write({"requirements.txt": lock_of(boto3="1.0", ruff="2")})
    assert run("upgrade", "--base", "main") == 0
    assert (
        json.loads(Path("answer/answer.json").read_text())["reason"]
        == "ruff 1 -> 2: tools that no script imports"
    )


def test_where_the_requirements_of_the_stack_are_not_known_all_counts(
    judgements: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise UnresolvableError("no")

    monkeypatch.setattr(uv, "compile_over", refuse)
    code, _ = pull({"requirements.txt": lock_of(ruff="1")}, {"requirements.txt": lock_of(ruff="2")})
    assert (code, len(judgements)) == (0, 2)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ((lock_of(trl="1 2"), ()), "requirements.txt: line 3: 'trl==1 2' is not a requirement"),
        ((lock_of(trl="1"), ("--file", "uv.lock")), "--file uv.lock: no such file at the head"),
        ((lock_of(trl="1"), ("--base", "nowhere")), "the checkout needs the whole history"),
        ((lock_of(trl="1"), ("--base", "--all")), "git merge-base"),
    ],
)
def test_pins_that_cannot_be_read_are_an_answer_too(
    judgements: list[tuple[str, str]],
    capsys: pytest.CaptureFixture[str],
    head: tuple[str, tuple[str, ...]],
    message: str,
) -> None:
    """The job that comments has to say so, on the pull request."""
    text, options = head
    code, answer = pull({"requirements.txt": lock_of()}, {"requirements.txt": text}, *options)
    assert (code, answer["answer"]) == (2, "CANNOT TELL")
    assert message in answer["reason"]
    assert message in capsys.readouterr().err


GIT = "https://name:secret@host/trl.git"
MINE = "ours @ git+https://host/ours.git@{}\n"


@pytest.mark.parametrize(
    ("base", "head"),
    [
        (lock_of() + f"trl @ git+{GIT}@a\n", lock_of() + f"trl @ git+{GIT}@b\n"),
        (lock_of(), "transformers==4.57.6\npeft==0.18.0\ntrl @ git+https://host/trl.git@b\n"),
    ],
)
def test_a_stack_that_is_no_release_is_not_passed_over(
    judgements: list[tuple[str, str]], base: str, head: str
) -> None:
    """``upgrade`` leaves such packages out, so that it would see nothing move."""
    code, answer = pull({"requirements.txt": base}, {"requirements.txt": head})
    assert (code, answer["answer"], judgements) == (3, "CANNOT TELL", [])
    assert answer["reason"].startswith("not releases on an index, so they cannot be installed here: trl ")
    assert "secret" not in answer["reason"]


def test_a_stack_from_git_in_a_lock_is_not_passed_over(judgements: list[tuple[str, str]]) -> None:
    def locked(commit: str) -> str:
        return uv_lock() + (
            '[[package]]\nname = "bitsandbytes"\nversion = "1"\n'
            f'source = {{ git = "https://host/x.git#{commit}" }}\n'
        )

    code, answer = pull({"uv.lock": locked("a")}, {"uv.lock": locked("b")})
    assert (code, answer["answer"]) == (3, "CANNOT TELL")


def test_a_package_of_their_own_from_git_is_not_of_the_stack(judgements: list[tuple[str, str]]) -> None:
    head: dict[str, str | None] = {"requirements.txt": lock_of() + MINE.format("b")}
    code, answer = pull({"requirements.txt": lock_of() + MINE.format("a")}, head)
    assert (code, answer["answer"]) == (0, "NOTHING TO TEST")
    assert answer["reason"].startswith("ours git+https://host/ours.git@a -> git+https://host/ours.git@b: ")


def test_it_runs_at_the_top_of_the_repository(
    judgements: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write({"src/train.py": "x"})
    monkeypatch.chdir("src")
    assert run("upgrade", "--base", "main") == 2
    assert "in src/: run this at the top of the repository" in capsys.readouterr().err


def test_the_base_is_that_of_the_pull_request(
    judgements: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write({"requirements.txt": lock_of()})
    assert run("upgrade") == 2
    assert "GITHUB_BASE_REF is not set" in capsys.readouterr().err
    git("update-ref", "refs/remotes/origin/main", "main")
    write({"requirements.txt": lock_of(trl="1.0")})
    monkeypatch.setenv("GITHUB_BASE_REF", "main")
    assert run("upgrade") == 0
    assert judgements[0][1] == lock_of()
