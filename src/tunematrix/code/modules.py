"""What the modules of a team offer of the stack: names that they import, and classes that extend its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePosixPath

from tunematrix.code.scopes import Meaning, Scope

Names = Mapping[str, Meaning]
Request = tuple[str, int]  # a module, and the dots before it


class Modules:
    """The names of the stack in the files read so far, and what each file imports from others."""

    def __init__(self) -> None:
        self.offered: dict[str, Names] = {}
        self._requests: dict[str, set[Request]] = {}
        self._by_name: dict[str, list[str]] = {}  # files by the last word of their module

    def add(self, file: str, scope: Scope) -> None:
        """Keep what the module ``file`` offers. A call of its classes elsewhere is a call of its own."""
        bound = ((name, meaning) for name, (meaning, _) in scope.names.items() if "." not in name)
        names = {name: dataclasses.replace(each, defined=None) for name, each in bound if each.name}
        if names and file not in self.offered:
            self._by_name.setdefault(_words(file)[-1] if _words(file) else "", []).append(file)
        if names or file in self.offered:
            self.offered[file] = names

    def names(self, importer: str, module: str, level: int) -> Names:
        """What ``importer`` gets of the stack from ``module``, which ``level`` dots make relative."""
        self._requests.setdefault(importer, set()).add((module, level))
        return self.offered.get(self._file(importer, module, level), {})

    def newly_served(self, before: Mapping[str, Names]) -> list[str]:
        """The files that import from a module which offers something else than in ``before``."""
        changed = {file for file, names in self.offered.items() if before.get(file) != names}
        return [
            importer
            for importer, requests in self._requests.items()
            if any(self._file(importer, *request) in changed for request in requests)
        ]

    def _file(self, importer: str, module: str, level: int) -> str:
        """The file of a module; empty where there is none, or where several may be meant.

        It is found by the end of its path, since a script may be run from any folder; the one nearest to
        ``importer`` counts.
        """
        here = PurePosixPath(importer).parent.parts
        words = tuple(module.split(".")) if module else ()
        wanted = (*here[: len(here) - level + 1], *words) if level else words
        found = [file for file in self._by_name.get(wanted[-1] if wanted else "", ()) if file != importer]
        if level:
            found = [file for file in found if _words(file) == wanted]
        else:
            found = [file for file in found if _words(file)[-len(words) :] == words]
            near = {file: _shared(_words(file), here) for file in found}
            found = [file for file in found if near[file] == max(near.values())]
        return found[0] if len(found) == 1 else ""


def _words(file: str) -> tuple[str, ...]:
    """The words of the module in ``file``: those of a package's ``__init__.py`` are the package's."""
    path = PurePosixPath(file).with_suffix("")
    return path.parts[:-1] if path.name == "__init__" else path.parts


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many folders two paths begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, pair in pairs if pair[0] != pair[1]), min(len(one), len(other)))
