"""``python -m tunematrix.harness.supervisor MODULE [ARGUMENT]...``: run a module, as ``python -m`` does.

What a script starts may outlive every process above it, and then nobody knows whose it was. So this process
stays above the module's: it adopts each process that loses its parent, and ends all of them when the module
ends, when it gets SIGTERM, and when the host dies. It ends as the module does, with the same exit code or
signal.
"""

from __future__ import annotations

import contextlib
import os
import resource
import runpy
import signal
import sys

from tunematrix.harness.descendants import adopt_orphans, die_with_parent, kill_descendants


def main() -> None:
    del sys.argv[0]
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: _end(-signal.SIGTERM))
    die_with_parent(signal.SIGTERM)
    if child := os.fork():
        _end(_wait_for(child))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _wait_for(child: int) -> int:
    """The exit code of ``child``, negative for a signal; reaps what else ends in the meantime."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _end(code: int) -> None:
    """End all processes below this one, and then this one with ``code``."""
    kill_descendants(os.getpid())
    if code >= 0:
        os._exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left a core where one is wanted
    with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)


main()
