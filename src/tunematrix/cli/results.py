"""Which model's results a command reads and writes, and the record that a name stands for."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tunematrix.base import layout
from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import STATE, Store, make_root, read_record, results_folder, stores
from tunematrix.locks import table
from tunematrix.report.rows import describe_interruption
from tunematrix.shared.output import print_lines

MODEL = click.option(
    "--model", metavar="NAME", help="The model whose results to use. Default: the one that ran last."
)


def open_store(model: str | None = None) -> Store:
    """The store of ``model``, by default of the model that ran last; moves the results of older releases."""
    root = open_root()
    return Store(root, model) if model else next(iter(stores(root)), Store(root))


def open_root() -> Path:
    """The results folder; moves the results of older releases."""
    root = results_folder()
    if root.name == STATE:
        make_root(root)
    print_lines(layout.migrate(root), err=True)
    return root


def load_record(name: str, model: str | None = None) -> Record:
    """The record in a file, or that of a cell; prints it if the cell's last run was interrupted.

    Raises ``UsageError`` if there is none that can be read.
    """
    path = Path(name)
    if path.suffix == ".json" or os.path.isfile(path):  # noqa: PTH113  # Path.is_file raises for a name that no file system can hold
        return read_record(path)
    store, cell = open_store(model), table.load().cell(name).name
    entry = store.entry(cell)
    if entry.shown is None:
        missing = f"no record of {cell} with {store.model}; run the cell first: nox -s 'e2e({cell})'"
        raise UsageError(entry.problem or f"{store.path(cell)}: {missing}")
    if entry.problem:
        print_lines([entry.problem], err=True)
    if entry.record and entry.interrupted:
        print_lines([f"{cell}: {describe_interruption(entry.interrupted, entry.record)}"], err=True)
    return entry.shown
