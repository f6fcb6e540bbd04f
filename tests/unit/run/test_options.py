"""Options are checked before anything is installed."""

from __future__ import annotations

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.run.options import Options, is_expression

LIMITS = {"TUNEMATRIX_CELL_SECONDS": 1200, "TUNEMATRIX_STAGE_SECONDS": 100}


@pytest.mark.parametrize(
    "text", ["a", "a and not b", "not (a or b) and c-1", "test[x/1]", "((a))", "a\tor b", "not not a"]
)
def test_expressions(text: str) -> None:
    assert is_expression(text)
    Options(select=text).check()


@pytest.mark.parametrize(
    "text",
    [
        "(((",
        "",
        "a b",
        "and",
        "a and",
        ")(",
        "a (b)",
        "a='x'",
        "not",
        "()",
        "a\nb",
        "(" * 99 + "a" + ")" * 99,
    ],
)
def test_what_is_no_expression_is_bad_input(text: str) -> None:
    assert not is_expression(text)
    with pytest.raises(UsageError, match="not an expression such as 'finetune and not resume'"):
        Options(select=text).check()


@pytest.mark.parametrize(("variable", "default"), LIMITS.items())
def test_the_time_limits(monkeypatch: pytest.MonkeyPatch, variable: str, default: float) -> None:
    def limit() -> float:
        options = Options()
        return options.time_limit if variable == "TUNEMATRIX_CELL_SECONDS" else options.stage_limit

    monkeypatch.delenv(variable, raising=False)
    assert limit() == default
    monkeypatch.setenv(variable, "2.5")
    assert limit() == 2.5


@pytest.mark.parametrize("variable", LIMITS)
@pytest.mark.parametrize("text", ["abc", "-1", "0", "nan", "inf", "1e99", "9" * 5000])
def test_a_wrong_time_limit_is_bad_input(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    monkeypatch.setenv(variable, text)

    with pytest.raises(UsageError, match=rf"{variable}=.*: must be a number of seconds"):
        Options().check()
