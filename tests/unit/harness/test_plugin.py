"""What a cell writes into its report log: no secrets."""

from __future__ import annotations

import pytest

from tunematrix.harness import isolate, plugin
from tunematrix.harness.deprecations import MAX_LENGTH, collect_deprecations
from tunematrix.harness.failure import describe_error
from tunematrix.pipeline.trace import Trace

CANARY = "hf_canary"


@pytest.fixture(autouse=True)
def _canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)


class Outcome:
    """The result of the hooks that a hook wrapper surrounds."""

    def __init__(self, result: object) -> None:
        self.result = result

    def get_result(self) -> object:
        return self.result

    def force_result(self, result: object) -> None:
        self.result = result


def test_reports_are_masked_on_their_way_to_the_log() -> None:
    outcome = Outcome({"longrepr": [f"Bearer {CANARY}"], "user_properties": [("stage", {"a": CANARY})]})
    hook = plugin.pytest_report_to_serializable()

    next(hook)
    with pytest.raises(StopIteration):
        hook.send(outcome)

    assert outcome.result == {"longrepr": ["Bearer ***"], "user_properties": [("stage", {"a": "***"})]}


def test_errors_are_masked() -> None:
    def fail() -> None:
        raise ValueError(f"Illegal header value b'Bearer {CANARY}\\n'")

    with pytest.raises(ValueError, match="Illegal") as error:
        fail()

    assert CANARY not in str(describe_error(error.value))


def test_the_reason_of_a_skip_is_masked() -> None:
    def skip(_: Trace) -> None:
        raise isolate.Skipped(f"the Hub at http://a:{CANARY}@host")

    result = isolate.run_in_process(skip)

    assert (result.outcome, (result.error or {})["message"]) == ("skipped", "the Hub at http://***@host")


def test_a_deprecation_is_masked_before_it_is_cut() -> None:
    import logging

    collected: list[dict[str, object]] = []
    with collect_deprecations(collected):
        logging.getLogger("trl").warning("deprecated %s%s", "x" * (MAX_LENGTH - 14), CANARY)

    assert str(collected[0]["message"]).endswith("x***")
