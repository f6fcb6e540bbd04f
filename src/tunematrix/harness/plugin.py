"""The pytest plugin of a cell: writes each stage to the report log as soon as it starts and ends.

``pytest -p tunematrix.harness.plugin``. Stages go through pytest's own report hook, so that
``--report-log`` has each of them on disk at once.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tunematrix.harness import stages, workflow
from tunematrix.shared.secrets import add_files, mask_all

Status = tuple[str, str, str]


class StageReport(pytest.TestReport):
    """The start (``when`` is ``setup``) or end (``call``) of a stage, with its result as user property."""


def pytest_configure(config: pytest.Config) -> None:
    if workload := os.environ.get("TUNEMATRIX_WORKLOAD"):
        add_files(Path(workload))
    config.pluginmanager.register(StageReporter(config), "tunematrix-session")


def pytest_report_teststatus(report: object) -> Status | None:
    if not isinstance(report, StageReport):
        return None
    if report.when == "setup":
        return "", "", ""
    result: Any = dict(report.user_properties)["stage"]
    outcome = str(result["outcome"])
    return f"stage {outcome}", outcome[0], f"{result['name']} {outcome.upper()} ({result['seconds']:.1f} s)"


@pytest.hookimpl(hookwrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, None]:
    """Mask every report on its way to the report log."""
    outcome = yield
    outcome.force_result(mask_all(outcome.get_result()))


class StageReporter:
    """Reports the stages of one pytest session under the test that runs them."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.nodeid = ""

    def pytest_sessionstart(self) -> None:
        stages.listeners.append(self.report)

    def pytest_sessionfinish(self) -> None:
        stages.listeners.remove(self.report)
        workflow.RESOURCES.close()

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.nodeid = item.nodeid

    def report(self, event: str, name: str, result: dict[str, Any] | None) -> None:
        report = StageReport(
            nodeid=self.nodeid,
            location=(self.nodeid.split("::")[0], None, name),
            keywords={},
            outcome="passed" if result is None or result["outcome"] == "passed" else "failed",
            longrepr=None,
            when="setup" if event == "start" else "call",
            duration=result["seconds"] if result else 0.0,
            user_properties=[("stage", result or {"name": name})],
        )
        self.config.hook.pytest_runtest_logreport(report=report)
