"""Shared by all tests. The cell's plugin only acts on tests marked ``integration``."""

pytest_plugins = ["tunematrix.harness.plugin"]
