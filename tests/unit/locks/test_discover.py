"""Which environment a repository has that knows nothing of this project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.locks import discover, uv

PINS = "trl==1.0\n"
LOCK = '[[package]]\nname = "NAME"\nversion = "1.0"\n'


def found(folder: Path) -> str:
    return discover.find(folder, folder / "state", "3.11")[1]


def test_locks_go_before_requirements_and_those_before_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setattr(uv, "freeze", lambda _: "-e file:///mine\ntrl==1.0\nmine @ file:///x\n")
    with pytest.raises(UsageError, match="nothing here pins transformers, peft, trl"):
        found(tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    with pytest.raises(UsageError, match="name a lock or a freeze with --baseline"):
        found(tmp_path)  # an environment alone is not the project's
    (tmp_path / "pyproject.toml").touch()
    assert found(tmp_path) == f"what is installed in {tmp_path / '.venv'}"
    assert (tmp_path / "state" / discover.FREEZE).read_text() == PINS
    (tmp_path / "requirements-docs.txt").write_text("sphinx\n")
    (tmp_path / "requirements-train.txt").write_text(PINS)
    assert found(tmp_path) == "requirements-train.txt"
    (tmp_path / "requirements.txt").write_text(PINS)
    assert found(tmp_path) == "requirements.txt"
    for name in reversed(discover.LOCKS):
        (tmp_path / name).write_text(LOCK.replace("NAME", "trl"))
        assert found(tmp_path) == name


def test_a_lock_that_names_nothing_of_the_stack_is_skipped_and_that_is_told(tmp_path: Path) -> None:
    """The lock of the documentation's tools once hid the requirements."""
    (tmp_path / "uv.lock").write_text(LOCK.replace("NAME", "mkdocs"))
    (tmp_path / "requirements.txt").write_text(PINS)
    assert found(tmp_path) == "requirements.txt, since uv.lock names nothing of the stack"
    (tmp_path / "uv.lock").write_text(LOCK.replace("NAME", "torch"))
    assert found(tmp_path) == "uv.lock"


def test_what_a_lock_has_from_elsewhere_is_told(tmp_path: Path) -> None:
    """trl from git was left out without a word."""
    (tmp_path / "uv.lock").write_text(LOCK.replace("NAME", "trl") + 'source = { git = "https://host/trl" }\n')
    assert found(tmp_path) == "uv.lock, without its trl (no release on an index)"
