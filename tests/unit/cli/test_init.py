"""``tunematrix init``: the plan, what it writes, and what it leaves alone."""

from __future__ import annotations

import datetime
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from tunematrix import __version__
from tunematrix.cli import init as cli_init
from tunematrix.cli.main import main
from tunematrix.cli.workflows import workflows
from tunematrix.locks import imported, releases, table
from tunematrix.locks.imported import ImportedLock
from tunematrix.locks.releases import Release
from tunematrix.run import scripts

ROOT = Path(__file__).parents[3]
TEAM = Path(__file__).parents[2] / "data" / "team"
PACKAGES = {"transformers": "4.57.6", "peft": "0.18.0", "trl": "0.26.2", "torch": "2.13.0+cpu"}
Init = Callable[..., int]


CELLS = ["ours", "transformers-ahead", "peft-ahead", "trl-ahead", "latest"]


@pytest.fixture(name="init")
def _init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Init:
    shutil.copytree(TEAM, tmp_path / "team")
    (tmp_path / "team" / "requirements.txt").write_text("trl==0.26.2\n")
    (tmp_path / "team" / ".git").mkdir()
    monkeypatch.chdir(tmp_path / "team")
    found = ImportedLock(packages=PACKAGES, added=(), moved={}, left_out=())
    monkeypatch.setattr(imported, "import_lock", lambda *_: found)
    monkeypatch.delenv("TUNEMATRIX_CONSTRAINTS", raising=False)

    day = datetime.date(2026, 1, 1)
    newest = [Release(version=Version(text), day=day) for text in ("1.0", "2.0", "3.0rc1")]
    monkeypatch.setattr(releases, "releases", lambda _: newest)

    def init(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["init", *arguments])
        return int(ended.value.code or 0)

    return init


def test_what_it_writes_is_read_by_the_other_commands(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    assert init("--yes") == 0
    out = capsys.readouterr().out
    assert "baseline: requirements.txt, 4 packages: transformers 4.57.6, peft 0.18.0, trl 0.26.2" in out
    matrix = table.load(Path("constraints"))
    assert (matrix.baseline, [cell.name for cell in matrix.cells]) == ("ours", CELLS)
    assert {cell.over for cell in matrix.cells[1:]} == {"ours"}, "scripts need the team's other packages too"
    assert dict(matrix.cell("peft-ahead").pins) == {"peft": "2.0", "torch": "2.13.0"}
    assert matrix.torch == "2.13.0"
    assert dict(matrix.cell("latest").pins)["trl"] == "2.0"
    assert "trl==0.26.2" in matrix.lock_path(matrix.cell("ours")).read_text()
    assert scripts.load(Path()).names == ("import", "sft", "sft-resume", "dpo", "dpo-resume")
    assert "from tunematrix.nox import sessions" in Path("noxfile.py").read_text()
    upgrade, comment = (Path(name).read_text() for name in workflows("3.11"))
    assert max(len(upgrade.splitlines()), len(comment.splitlines())) <= 20
    assert f"tunematrix=={__version__}" in upgrade
    assert "checkout" not in comment
    assert yaml.safe_load(upgrade)["permissions"] == {"contents": "read"}


def test_the_workflows_run_the_steps_of_those_of_this_project(init: Init) -> None:
    """They are the reusable ones, for a team that does not call them."""
    assert init("--yes") == 0
    for own, name in zip(workflows("3.11"), ("pull-request.yml", "pull-request-comment.yml"), strict=True):
        reusable = ROOT / ".github/workflows" / name
        assert _steps(Path(own)) == _steps(reusable)
        inputs = yaml.safe_load(reusable.read_text())[True]["workflow_call"]["inputs"]
        assert inputs["version"]["default"] == __version__


def _steps(path: Path) -> list[str]:
    """What each step uses or runs, without options of the reusable workflow, and its condition."""
    (job,) = yaml.safe_load(path.read_text())["jobs"].values()
    texts = [f"{step.get('uses', step.get('run'))} {step.get('if')}" for step in job["steps"]]
    replaced = {
        ' ${MODEL:+--model "$MODEL"}': "",
        "$VERSION": __version__,
        '"$RUNNER_TEMP/answer"': "answer",
    }
    for old, new in replaced.items():
        texts = [text.replace(old, new) for text in texts]
    return [str(job["if"]), *texts]


def test_nothing_is_written_over_and_nothing_without_an_answer(
    init: Init, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("noxfile.py").write_text("mine")
    Path("workload.toml").write_text('[[stage]]\nname = "mine"\nrun = "true"\n')
    assert init() == 2
    assert not Path("constraints").exists()
    assert init("--yes") == 0
    assert Path("noxfile.py").read_text() == "mine"
    assert scripts.load(Path()).names == ("import", "mine")
    out = capsys.readouterr().out
    assert (
        "noxfile.py: is there already, stays as it is; add to it: from tunematrix.nox import sessions" in out
    )
    before = Path("constraints/matrix.toml").read_text()
    assert init("--yes") == 0
    assert Path("constraints/matrix.toml").read_text() == before
    assert "constraints: has cells already" in capsys.readouterr().out


def test_a_repository_without_pins_is_told_what_to_do(
    init: Init, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    Path("requirements.txt").unlink()
    assert init("--yes") == 2
    assert "nothing here pins transformers, peft, trl" in capsys.readouterr().err
    assert init("--yes", "--baseline", "none.txt") == 2
    assert "--baseline none.txt: no such file" in capsys.readouterr().err


def test_where_the_baseline_is_not_what_the_file_says_is_told(
    init: Init, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ImportedLock(
        packages=PACKAGES, added=(), moved={"click": ("7.0", "8.0")}, left_out=("ours",), replaced=("trl",)
    )
    monkeypatch.setattr(imported, "import_lock", lambda *_: found)
    assert init("--yes") == 0
    out = capsys.readouterr().out
    assert "baseline: left out, not releases for a CPU: ours" in out
    assert "baseline: trl is no release on an index; trl 0.26.2 takes its place" in out
    assert "baseline: click 7.0 -> 8.0, for the test tools" in out


def test_one_package_that_moves_needs_no_cell_beside_latest(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ImportedLock(packages={"transformers": "1.0", "numpy": "2.0"}, added=(), moved={}, left_out=())
    monkeypatch.setattr(imported, "import_lock", lambda *_: found)
    assert init("--yes") == 0
    matrix = table.load(Path("constraints"))
    assert [cell.name for cell in matrix.cells] == ["ours", "latest"]
    assert dict(matrix.cell("latest").pins) == {"transformers": "2.0"}


def test_pip_constraints_of_the_team_are_no_cells(init: Init) -> None:
    Path("constraints").mkdir()
    Path("constraints/base.txt").write_text("numpy<2\n")
    assert init("--yes") == 0
    assert [cell.name for cell in table.load(Path("constraints")).cells] == CELLS
    assert Path("constraints/base.txt").read_text() == "numpy<2\n"


def test_names_of_files_are_written_as_they_are(init: Init) -> None:
    """A folder whose name looks like a token was masked, and one with a space was two words."""
    for name in ("hf_Finetune2024", "my scripts"):
        shutil.move("train_sft.py" if name == "my scripts" else "train_dpo.py", Path(name).with_suffix(".py"))
        Path(name).mkdir()
        Path(name).with_suffix(".py").rename(Path(name) / "train.py")
    assert init("--yes") == 0
    runs = [shlex.split(stage.run)[:2] for stage in scripts.load(Path()).stages]
    assert runs == [["python", "my scripts/train.py"], ["python", "hf_Finetune2024/train.py"]]


def test_with_yes_all_is_written_also_if_nobody_reads_the_plan(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``init --yes | head -1`` once wrote nothing."""

    def closed(_: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli_init, "print_lines", closed)
    init("--yes")
    assert Path("workload.toml").is_file()


def test_scripts_of_one_kind_have_names_of_their_own(init: Init) -> None:
    for name in ("train (v2).py", "train v2.py", f"{'x' * 80}.py"):
        shutil.copy("train_sft.py", name)
    assert init("--yes") == 0
    names = [stage.name for stage in scripts.load(Path()).stages]
    assert len(set(names)) == len(names) == 5


def test_the_plan_names_the_recipes_that_are_left_out(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    Path("Makefile").write_text(
        "sft:\n\tpython train_sft.py --model $(M) --seed 3\ndpo:\n\tpython train_dpo.py $(X)\n"
    )
    assert init("--yes") == 0
    assert "Makefile:4 (dpo): not used, since the file gives no value to $(X); " in capsys.readouterr().out
    sft, dpo = scripts.load(Path()).stages
    assert "--seed 3" in sft.run
    assert "$" not in dpo.run
