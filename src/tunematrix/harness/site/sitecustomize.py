"""Python imports this at its start in the processes that a team's script starts; see ``harness.observe``."""

import os
from pathlib import Path

if folder := os.environ.get("TUNEMATRIX_OBSERVE"):
    from tunematrix.harness.observe import install_when_imported

    install_when_imported(Path(folder))
