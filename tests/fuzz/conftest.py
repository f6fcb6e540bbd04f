"""Fuzzing of everything that reads what others wrote.

``TUNEMATRIX_FUZZ`` sets the number of cases per test: few with the fast tests, thousands in CI, 100,000 in
``nox -s nightly``. A case that was found becomes a fixed test beside the reader's other tests.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("TUNEMATRIX_FUZZ", "10")),
    deadline=None,  # speed is measured in benchmarks
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")
