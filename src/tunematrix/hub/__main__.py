"""``python -m tunematrix.hub --root DIR --port N``: run the Hub from the command line."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
from pathlib import Path
from typing import Final

from tunematrix.hub.faults import KINDS
from tunematrix.hub.server import serving

DESCRIPTION: Final = "Serve model folders over the Hub's protocol; point a client at it with HF_ENDPOINT."
FAULT_KINDS: Final = {"a status from 400 to 599": "the response has that status", **KINDS}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tunematrix.hub",
        description=DESCRIPTION,
        epilog="kinds of faults:\n" + "\n".join(f"  {kind}: {text}" for kind, text in FAULT_KINDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of ORG/NAME or NAME model folders")
    parser.add_argument("--port", type=int, default=0, help="0, the default, selects a free port")
    parser.add_argument("--fault", action="append", default=[], help="'KIND [xTIMES] PATTERN' to inject")
    options = parser.parse_args(arguments)
    if not options.root.is_dir():
        parser.error(f"--root {options.root}: no such folder; create it or name another one")
    try:
        with serving(options.root, port=options.port, verbose=True) as server:
            for fault in options.fault:
                server.faults.add(fault)
            print(f"HF_ENDPOINT={server.url}", flush=True)
            for name, repo in sorted(server.repos.items()):
                print(f"  {name} @ {repo.commit} ({len(repo.files)} files)", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    except (OSError, OverflowError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
