"""Python imports this at its start in the processes that a team's script starts; see ``harness.observe``."""

import os
import sys
from pathlib import Path

if roots := os.environ.get("TUNEMATRIX_ROOTS"):  # of the team's own modules, behind what is installed
    sys.path.extend(roots.split(os.pathsep))

if folder := os.environ.get("TUNEMATRIX_OBSERVE"):
    from tunematrix.harness.observe import install_when_imported

    install_when_imported(Path(folder))
