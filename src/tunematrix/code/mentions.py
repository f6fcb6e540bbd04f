"""Where a repository names environment variables and commands: in code, scripts, workflows and settings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from tunematrix.code.reader import Use
from tunematrix.code.uses import files_below

SUFFIXES: Final = (
    ".py", ".sh", ".bash", ".zsh", ".slurm", ".sbatch", ".mk", ".yml", ".yaml", ".toml", ".cfg", ".ini",
    ".env",
)  # fmt: skip
NAMES: Final = ("makefile", "gnumakefile", "justfile", "dockerfile", "containerfile", ".env", ".envrc")


def is_read(name: str) -> bool:
    """Whether a file of this name may set an environment variable or start a command."""
    return Path(name).suffix.lower() in SUFFIXES or name.lower().startswith(NAMES)


def find(path: Path, names: Collection[str]) -> Iterator[Use]:
    """The places in a file or a folder where one of ``names`` stands as a word, which names the use."""
    if not names:
        return
    words = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(names)))})(?![\w-])")
    for file in files_below(path, is_read):
        name = file.name if file == path else file.relative_to(path).as_posix()
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:  # of somebody else, or gone meanwhile
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for met in words.finditer(line):
                yield Use(file=name, line=number, name=met[0], column=met.start())
