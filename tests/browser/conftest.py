"""The tests of the page need a browser's driver, which only the session ``browser`` installs."""

from __future__ import annotations

import importlib.util

# That session cannot pass without them: pytest exits 5 if it collects nothing.
collect_ignore = [] if importlib.util.find_spec("playwright") else ["test_page.py"]
