"""Write the summary of a results folder from its records, under a lock, at any time."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import replace

from tunematrix.base.files import check_inside, write_atomic
from tunematrix.base.history import History
from tunematrix.base.store import Entry, Store, stores
from tunematrix.locks import lock
from tunematrix.locks.table import Matrix
from tunematrix.report import markdown
from tunematrix.report import summary as view
from tunematrix.report.difference import diff_markdown
from tunematrix.report.remember import remember
from tunematrix.report.rows import rows
from tunematrix.shared import secrets
from tunematrix.verdict import ledger, releases
from tunematrix.verdict.answer import Knowledge
from tunematrix.verdict.past import Past, pasts


def refresh(matrix: Matrix, store: Store, *, page: bool = False) -> view.Summary:
    """Write ``summary.json`` and ``summary.md`` of the store's model; returns the summary.

    The results folder has copies of those of the model that ran last, and the history gets what is new.
    ``page`` asks for ``summary.html`` too, which takes longer, so that not every cell that ends waits for it.
    """
    with store.locked("summary"), secrets.unchanged():
        summary, entries = summarize(matrix, store)
        content = json.dumps(view.summary_json(summary), indent=1, ensure_ascii=False) + "\n"
        folders = {store.folder: ""}
        if next(iter(stores(store.root)), store).model == store.model:
            folders[store.root] = f"{store.folder.name}/"
        for folder, prefix in folders.items():
            write_atomic(check_inside(folder / "summary.json", store.root), content)
            text = markdown.render(summary, prefix)
            write_atomic(check_inside(folder / "summary.md", store.root), text)
        _write_changes(summary, store)
        history = History(store.root)
        summary = replace(summary, history_problem=remember(history, summary.rows, entries))
        if page:
            summary = replace(summary, history=_past(matrix, summary, history))
            _write_page(matrix, summary, store)
    return summary


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


def _write_page(matrix: Matrix, summary: view.Summary, store: Store) -> None:
    from tunematrix.report.page import heat, render  # few commands need the templates

    paths = {cell.name: matrix.lock_path(cell) for cell in matrix.cells}
    locks = {name: lock.read(path) for name, path in paths.items() if path.is_file()}
    exchange = heat.load(heat.files(store.folder))
    text = render.render(summary, locks, releases.load(), ledger.known(matrix.folder), exchange)
    write_atomic(check_inside(store.folder / "summary.html", store.root), text)


def _write_changes(summary: view.Summary, store: Store) -> None:
    """Every difference between a cell and the one it is compared with, in the cell's folder."""
    current = {row.cell: row.current.record for row in summary.rows if row.current}
    for row in summary.rows:
        before = current.get(row.compared_with or "")
        if before and row.record:
            path = store.cell_folder(row.cell) / markdown.CHANGES
            write_atomic(check_inside(path, store.root), diff_markdown(before, row.record, row.judgement))
