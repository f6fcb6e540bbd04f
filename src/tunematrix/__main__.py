"""``python -m tunematrix``: the host's command line."""

from tunematrix.matrix.cli import main

main()
