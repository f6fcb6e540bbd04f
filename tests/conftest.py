"""Shared by all tests. The plugin only has an effect on tests that run stages."""

import pytest

pytest_plugins = ["tunematrix.harness.plugin"]
pytest.register_assert_rewrite("tunematrix.suite")
