"""Shared by all tests. The cell's plugin only acts on tests marked ``integration``."""

import pytest

pytest_plugins = ["tunematrix.harness.plugin"]
pytest.register_assert_rewrite("tunematrix.suite")
