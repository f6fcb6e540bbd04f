"""The pytest plugin of a cell: stages in the report log, the moment each begins and ends.

``pytest -p tunematrix.harness.plugin``. Stages stream through pytest's own report hook, so that
``--report-log`` has every one on disk the moment it ends.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tunematrix.harness import stages, workflow
from tunematrix.harness.isolate import die_with_parent

Status = tuple[str, str, str]


class StageReport(pytest.TestReport):
    """One stage, begun (``when`` is ``setup``) or ended (``call``); the fact is in ``user_properties``."""


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("TUNEMATRIX_CELL"):
        die_with_parent()
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

    def pytest_sessionstart(self) -> None:
        stages.listeners.append(self.stage)

    def pytest_sessionfinish(self) -> None:
        stages.listeners.remove(self.stage)
        workflow.OPEN.close()

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.nodeid = item.nodeid

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
