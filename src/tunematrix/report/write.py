"""Write the summary of a results folder from its records, under a lock, at any time."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tunematrix.base.files import check_inside, write_atomic
from tunematrix.base.history import History
from tunematrix.base.store import Entry, Store, ran_last
from tunematrix.locks import lock
from tunematrix.locks.table import Matrix
from tunematrix.report import markdown, unchanged
from tunematrix.report import summary as view
from tunematrix.report.difference import diff_markdown
from tunematrix.report.overview import Overview
from tunematrix.report.remember import remember
from tunematrix.report.rows import rows
from tunematrix.shared import secrets
from tunematrix.verdict import ledger, releases
from tunematrix.verdict.answer import Knowledge
from tunematrix.verdict.past import Past, pasts


def refresh(matrix: Matrix, store: Store, *, page: bool = False) -> view.Summary:
    """Write ``summary.json`` and ``summary.md`` of the store's model; returns the summary.

    The results folder has copies of those of the model that ran last, and the history gets what is new.
    ``page`` asks for ``summary.html`` too, which takes longer, and keeps the overview for ``unchanged``.
    """
    with store.locked("summary"), secrets.unchanged():
        inputs = unchanged.digest(matrix, store, exchanges(store)) if page else ""
        summary, entries = summarize(matrix, store)
        written = _write_summary(summary, store)
        written += _write_changes(summary, store)
        history = History(store.root)
        summary = replace(summary, history_problem=remember(history, summary.rows, entries))
        if page:
            summary = replace(summary, history=_past(matrix, summary, history))
            written += [_write_page(matrix, summary, store), history.path]
        if page and not summary.history_problem:
            unchanged.keep(store, inputs, Overview.of(summary), written)
        else:
            unchanged.forget(store)
    return summary


def overview(matrix: Matrix, store: Store) -> tuple[Overview, str]:
    """What the terminal shows, and why the history could not be written; makes the summary if need be.

    The same as ``refresh`` with the page, without the work if nothing has changed since it was made.
    """
    with store.locked("summary"):
        found = unchanged.load(matrix, store, exchanges(store))
    if found:
        return found, ""
    summary = refresh(matrix, store, page=True)
    return Overview.of(summary), summary.history_problem


def exchanges(store: Store) -> list[Path]:
    """The files with the exchanges that the page of a store shows."""
    from tunematrix.report.page import heat  # few commands need the page

    return heat.files(store.folder)


def _write_summary(summary: view.Summary, store: Store) -> list[Path]:
    content = json.dumps(view.summary_json(summary), indent=1, ensure_ascii=False) + "\n"
    folders = {store.folder: ""}
    if ran_last(store):
        folders[store.root] = f"{store.folder.name}/"
    written = []
    for folder, prefix in folders.items():
        texts = {"summary.json": content, "summary.md": markdown.render(summary, prefix)}
        for name, text in texts.items():
            written.append(check_inside(folder / name, store.root))
            write_atomic(written[-1], text)
    return written


def summarize(matrix: Matrix, store: Store) -> tuple[view.Summary, Mapping[str, Entry]]:
    """The summary of the store's model, and the entries that it is of, by cell; writes nothing."""
    entries = {cell.name: store.entry(cell.name) for cell in matrix.cells}
    # Without a clock: rendering again gives the same files, whatever the day.
    knowledge = Knowledge.load(matrix.folder, today=datetime.date.min)
    model = store.model if store.cells() else ""
    summary = view.Summary(model=model, rows=rows(matrix, entries, knowledge), ledger=knowledge.ledger)
    return summary, entries


def _past(matrix: Matrix, summary: view.Summary, history: History) -> tuple[Past, ...]:
    """What the history says of the cells of the matrix; nothing if it cannot be trusted."""
    if summary.history_problem:
        return ()
    order = [cell.name for cell in matrix.cells]
    runs, steps = history.read(summary.model)
    return tuple(past for past in pasts(runs, steps, order) if past.cell in order)


def _write_page(matrix: Matrix, summary: view.Summary, store: Store) -> Path:
    from tunematrix.report.page import heat, render  # few commands need the templates

    paths = {cell.name: matrix.lock_path(cell) for cell in matrix.cells}
    locks = {name: lock.read(path) for name, path in paths.items() if path.is_file()}
    exchange = heat.load(exchanges(store))
    text = render.render(summary, locks, releases.load(), ledger.known(matrix.folder), exchange)
    path = check_inside(store.folder / "summary.html", store.root)
    write_atomic(path, text)
    return path


def _write_changes(summary: view.Summary, store: Store) -> list[Path]:
    """Every difference between a cell and the one it is compared with, in the cell's folder."""
    current = {row.cell: row.current.record for row in summary.rows if row.current}
    written = []
    for row in summary.rows:
        before = current.get(row.compared_with or "")
        if before and row.record:
            written.append(check_inside(store.cell_folder(row.cell) / markdown.CHANGES, store.root))
            write_atomic(written[-1], diff_markdown(before, row.record, row.judgement))
    return written
