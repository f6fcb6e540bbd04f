"""Options of training in files that are no Python: configurations, and flags of commands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tunematrix.code.reader import PARSERS, Use

YAML: Final = re.compile(r"(?m)^([A-Za-z]\w*)[ \t]*:")
JSON: Final = re.compile(r'(?m)(?:^|[{,])[ \t]*"([A-Za-z]\w*)"[ \t]*:')
FLAG: Final = re.compile(r"(?<![\w-])--([a-z][a-z0-9_-]*)")
CONFIGURATIONS: Final = {".yaml": YAML, ".yml": YAML, ".json": JSON}
COMMANDS: Final = (".sh", ".slurm", ".sbatch", ".mk")
MAKEFILES: Final = ("Makefile", "makefile", "GNUmakefile", "justfile")
# Options that TrainingArguments has had in every release: a file with two of them configures a training.
TRAINING: Final = frozenset((
    "bf16", "gradient_accumulation_steps", "gradient_checkpointing", "learning_rate", "logging_steps",
    "lr_scheduler_type", "max_grad_norm", "max_steps", "num_train_epochs", "optim", "output_dir",
    "per_device_train_batch_size", "save_steps", "weight_decay",
))  # fmt: skip
ENOUGH: Final = 2
LONG: Final = 5  # sft, dpo, kto, grpo, rloo are acronyms; reward is none
KINDS: Final = re.compile(r"(?<![a-z])(sft|dpo|kto|grpo|rloo|reward)(?![a-z])")
ANY: Final = "trl.Config"  # some configuration: it has the options of TrainingArguments
OF_FILE: Final = (1, 0)  # a configuration is one call
MAX_BYTES: Final = 200_000
UNKNOWN: Final = "it is no Python"


def is_configuration(name: str) -> bool:
    """Whether a file of this name may configure a training."""
    return Path(name).suffix in (*CONFIGURATIONS, *COMMANDS) or name in MAKEFILES


def find(files: Iterable[Path], root: Path, code: Iterable[Use]) -> Iterator[Use]:
    """The options of training in ``files``; ``code`` are the uses in the Python files beside them.

    A configuration belongs to the class that the name of its file names, such as ``sft.yaml``, and else to
    those that ``code`` makes, if it has a parser of the stack. Without one, flags are the team's own.
    """
    code = list(code)
    parsing = any(use.name.rpartition(".")[2] in PARSERS for use in code)
    parsed = {
        use.name
        for use in code
        if parsing and use.called and use.name.endswith(("Config", "TrainingArguments"))
    }
    for file in files:
        pattern = CONFIGURATIONS.get(file.suffix, FLAG)
        if (pattern is FLAG and not parsing) or file.stat().st_size > MAX_BYTES:
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        found = [
            (option, match.start(1)) for match in pattern.finditer(text) if (option := _option(match[1]))
        ]
        if len({option for option, _ in found} & TRAINING) < ENOUGH:
            continue
        name = file.relative_to(root).as_posix()
        kind = KINDS.search(name.lower())
        for owner in [owner_of(kind[1])] if kind else sorted(parsed) or [ANY]:
            for option, start in found:
                line = text.count("\n", 0, start) + 1
                yield Use(name, line, owner, option, call=OF_FILE, doubt=UNKNOWN)


def of_trl(path: Path, command: str, root: Path) -> Iterator[Use]:
    """The keys of a configuration of trl's command line: of ``trl dpo``, the arguments of ``DPOConfig``."""
    owner = owner_of(command)
    name = path.relative_to(root).as_posix()
    yield Use(name, 1, owner, called=True, call=OF_FILE)
    text = path.read_text(encoding="utf-8", errors="replace")
    for match in YAML.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Use(name, line, owner, match[1], called=True, call=OF_FILE, doubt=UNKNOWN)


def owner_of(command: str) -> str:
    """The class of the configuration of ``trl COMMAND``."""
    return f"trl.{command.upper() if len(command) < LONG else command.capitalize()}Config"


def _option(text: str) -> str:
    """A flag may be spelt with hyphens."""
    return text.replace("-", "_")
