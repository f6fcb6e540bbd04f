"""``python -m tunematrix.pipeline``."""

from tunematrix.pipeline.cli import main

main()
