"""The kinds of failures; all examples come from real runs."""

from __future__ import annotations

import pytest

from tunematrix.base.record import Failure
from tunematrix.verdict.failures import KINDS, kind_of

EXAMPLES = [
    ("finetune", "UnresolvableError", "No solution found when resolving dependencies", "resolver"),
    ("finetune", "UninstallableError", "Failed to build", "install"),
    ("download", "HubError", "a/b: the Hub answered 503", "infrastructure"),
    ("align", "SIGKILL", "the process ended by SIGKILL, which the kernel also sends", "infrastructure"),
    ("align", "TimeoutError", "not done after 100 s; killed", "infrastructure"),
    ("finetune", "OSError", "[Errno 28] No space left on device", "infrastructure"),
    ("import", "ImportError", "cannot import name 'is_mlu_available' from 'accelerate.utils'", "import"),
    ("import", "RuntimeError", "numpy.core.multiarray failed to import", "import"),
    ("align", "AttributeError", "'generator' object has no attribute 'generate'", "api"),
    ("finetune", "TypeError", "unwrap_model() got an unexpected keyword argument", "api"),
    ("finetune-resume", "UnpicklingError", "Weights only load failed.", "artifact"),
    ("generate", "Exception", "data did not match any variant of untagged enum ModelWrapper", "artifact"),
    ("align-resume", "Mismatch", "the resumed run is not the uninterrupted one", "numeric"),
    ("generate", "SIGSEGV", "the process ended by SIGSEGV", "crash"),
    ("finetune", "KeyError", "'push_to_hub_token'", "other"),
]


@pytest.mark.parametrize(("stage", "error_type", "message", "expected"), EXAMPLES)
def test_a_failure_gets_its_kind(stage: str, error_type: str, message: str, expected: str) -> None:
    assert kind_of((stage,), Failure(type=error_type, message=message)) == expected


def test_every_kind_has_an_example() -> None:
    assert {expected for *_, expected in EXAMPLES} == set(KINDS)
