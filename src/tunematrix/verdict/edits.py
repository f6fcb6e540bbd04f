"""Call-site changes as the edits that they require in user code."""

from __future__ import annotations

from tunematrix.verdict.diff import Change


def describe_edit(change: Change) -> str:
    """The edit that a call-site change requires in user code."""
    return describe_edit_of(change.name, change.before, change.after)


def describe_edit_of(name: str, before: str, after: str) -> str:
    call = name.partition("(")[0]
    if not before:
        return f"{call}: {after}= is accepted now"
    old = before if "(" in before else f"{call}({before}=...)"
    if not after:
        return f"{old} -> remove it"
    return f"{old} -> {after if '(' in after else f'{after}='}"
