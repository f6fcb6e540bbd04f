"""The pytest plugin of a cell: a Hub to talk to, the stack imported once, stages in the report log.

``pytest -p tunematrix.harness.plugin``. Stages stream through pytest's own report hook, so that
``--report-log`` has every one on disk the moment it ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tunematrix.harness import stages, workflow
from tunematrix.harness.isolate import Skipped, _attempt

Status = tuple[str, str, str]


class StageReport(pytest.TestReport):
    """One stage, begun (``when`` is ``setup``) or ended (``call``); the fact is in ``user_properties``."""


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Session(config), "tunematrix-session")


def pytest_report_teststatus(report: object) -> Status | None:
    if not isinstance(report, StageReport):
        return None
    if report.when == "setup":
        return "", "", ""
    fact: Any = dict(report.user_properties)["stage"]
    outcome = str(fact["outcome"])
    return f"stage {outcome}", outcome[0], f"{fact['name']} {outcome.upper()} ({fact['seconds']:.1f} s)"


class Session:
    """What the integration tests of one pytest run share."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.nodeid = ""
        self.ready = False
        self.open = ExitStack()

    def pytest_sessionstart(self) -> None:
        stages.listeners.append(self.stage)

    def pytest_sessionfinish(self) -> None:
        stages.listeners.remove(self.stage)
        self.open.close()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        self.nodeid = item.nodeid
        if item.get_closest_marker("integration"):
            self.prepare()
        return (yield)

    def prepare(self) -> None:
        """Point the client at a Hub and import the stack, once, before the first integration test."""
        if os.environ.get("SKIP_INTEGRATION", "").lower() in ("1", "true", "yes"):
            pytest.skip("SKIP_INTEGRATION is set")
        if self.ready:
            return
        try:
            self.open.enter_context(workflow.hub())
        except Skipped as reason:
            pytest.skip(str(reason))
        self.ready = True
        stages.tell("began", "import")
        # In this very process, and only here: the stages' children are copies of it.
        stages.tell_end("import", _attempt(stages.import_stack))

    def stage(self, event: str, name: str, fact: dict[str, Any] | None) -> None:
        report = StageReport(
            nodeid=self.nodeid,
            location=(self.nodeid.split("::")[0], None, name),
            keywords={},
            outcome="passed" if fact is None or fact["outcome"] == "passed" else "failed",
            longrepr=None,
            when="setup" if event == "began" else "call",
            duration=fact["seconds"] if fact else 0.0,
            user_properties=[("stage", fact or {"name": name})],
        )
        self.config.hook.pytest_runtest_logreport(report=report)
