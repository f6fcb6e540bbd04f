"""``python -m tunematrix``: the host's command line."""

from tunematrix.cli.main import main

main()
