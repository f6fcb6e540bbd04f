"""Errors become messages and exit codes here, for the command line and for the noxfile."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator

import click

from tunematrix.base.errors import TunematrixError
from tunematrix.shared.output import print_error


@contextlib.contextmanager
def handle_errors() -> Iterator[None]:
    """Turn errors into messages and exit codes; nothing else does."""
    try:
        yield
    except TunematrixError as error:
        print_error(f"error: {error}")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        usage = io.StringIO()
        error.show(usage)
        print_error(usage.getvalue())
        sys.exit(2)
    except OSError as error:
        print_error(f"error: {error}")
        sys.exit(3)
    except (click.Abort, KeyboardInterrupt):
        print_error("interrupted")
        sys.exit(130)
