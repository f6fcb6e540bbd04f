"""``tunematrix init``: the plan, what it writes, and what it leaves alone."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.version import Version

from tunematrix.cli.main import main
from tunematrix.locks import imported, releases, table
from tunematrix.locks.imported import ImportedLock
from tunematrix.locks.releases import Release
from tunematrix.run import scripts

TEAM = Path(__file__).parents[2] / "data" / "team"
PACKAGES = {"transformers": "4.57.6", "peft": "0.18.0", "trl": "0.26.2", "torch": "2.13.0+cpu"}
Init = Callable[..., int]


@pytest.fixture(name="init")
def _init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Init:
    shutil.copytree(TEAM, tmp_path / "team")
    (tmp_path / "team" / "requirements.txt").write_text("trl==0.26.2\n")
    (tmp_path / "team" / ".git").mkdir()
    monkeypatch.chdir(tmp_path / "team")
    found = ImportedLock(packages=PACKAGES, added=(), moved={}, left_out=())
    monkeypatch.setattr(imported, "import_lock", lambda *_: found)

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
    assert (matrix.baseline, [cell.name for cell in matrix.cells]) == ("ours", ["ours", "latest"])
    assert matrix.torch == "2.13.0"
    assert dict(matrix.cell("latest").pins)["trl"] == "2.0"
    assert "trl==0.26.2" in matrix.lock_path(matrix.cell("ours")).read_text()
    assert scripts.load(Path()).names == ("import", "sft", "sft-resume", "dpo", "dpo-resume")
    assert "from tunematrix.nox import sessions" in Path("noxfile.py").read_text()
    workflow = Path(".github/workflows/tunematrix.yml").read_text()
    assert len(workflow.splitlines()) <= 20
    assert 'paths: ["requirements.txt"]' in workflow


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
