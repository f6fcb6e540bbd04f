"""``python -m tunematrix.harness.exchange SPEC RESULTS``: what the host runs in a cell for an exchange."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path


def main(spec: str, results: str) -> None:
    """Import the stack once, and do the work in copies of this process."""
    from tunematrix.harness.descendants import die_with_parent
    from tunematrix.harness.failure import describe_error
    from tunematrix.harness.stages import import_stack
    from tunematrix.harness.workflow import freeze_imports
    from tunematrix.pipeline.trace import Trace

    die_with_parent()
    try:
        # Somebody's folder may come from a stack without trl or peft.
        import_stack(Trace(), optional=bool(json.loads(Path(spec).read_text()).get("parts")))
        from tunematrix.harness.exchange import work
    except Exception as error:
        Path(results).write_text(json.dumps({"import_error": describe_error(error)}) + "\n")
        return
    freeze_imports()
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        work.run(work.Spec.read(Path(spec)), Path(scratch).resolve(), Path(results))


main(*sys.argv[1:])
