"""The seed workflow on a real model, for ``pytest -m integration`` in this environment.

The tests live in the package, where every cell runs them also from an installed wheel.
"""

from __future__ import annotations

from tunematrix.suite.test_real_e2e import (
    pytestmark,
    test_real_align_resume,
    test_real_checkpoint_resume,
    test_real_download_finetune_dpo_workflow,
)

__all__ = [
    "pytestmark",
    "test_real_align_resume",
    "test_real_checkpoint_resume",
    "test_real_download_finetune_dpo_workflow",
]
