"""Makefiles and justfiles: their command lines, with the variables to which they give a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.code import makefiles
from tunematrix.shared.reading import UnreadableError

MAKEFILE = """\
# how we train
MODEL ?= org/model  # the default
MODEL ?= org/other
OUT := out/$(KIND)
KIND = sft
FLAGS = --bf16 \\
    --seed 1
FLAGS += --packing
ifeq ($(CI),1)
LIMIT = 2
endif
define notes
train: ; python other.py
endef
.PHONY: train
train: data ; python a.py --model $(MODEL) --out ${OUT}
long: ## the help
\t@-python b.py $(FLAGS) \\
\t  --home $$HOME/x --limit $(LIMIT) --out $@
\tpython c.py --dir $(CURDIR)/data
debug: MODEL = tiny
"""


def write(folder: Path, text: str, name: str = "Makefile") -> list[tuple[int, str, str]]:
    (folder / name).write_text(text)
    return [(each.line, each.target, each.text) for each in makefiles.read(folder)]


def test_recipes_come_with_the_values_of_the_file_and_what_has_none_stays(tmp_path: Path) -> None:
    text = MAKEFILE.removesuffix("debug: MODEL = tiny\n")
    assert write(tmp_path, text) == [
        (16, "train", "python a.py --model org/model --out out/sft"),
        (18, "long", "python b.py --bf16 --seed 1 --packing --home $HOME/x --limit $(LIMIT) --out $@"),
        (20, "long", "python c.py --dir ./data"),
    ]


def test_a_variable_of_one_target_has_no_value_for_all(tmp_path: Path) -> None:
    assert write(tmp_path, MAKEFILE)[0][2] == "python a.py --model $(MODEL) --out out/sft"


@pytest.mark.parametrize(
    "text",
    [
        "A = $(B)\nB = $(A)\nt:\n\tpython a.py $(A)\n",
        "A != date\nt:\n\tpython a.py $(A)\n",
        "t:\n\tpython a.py $(A)\n",
        "".join(f"V{n} = $(V{n + 1})$(V{n + 1})\n" for n in range(40))
        + "V40 = x\nA = $(V0)\nt: ; python a.py $(A)",
        "".join(f"V{n} = $(V{n + 1})\n" for n in range(5000)) + "V5000 = x\nt: ; python a.py $(V0)",
        f"V = {'x' * 9000}\nt: ; python a.py {'$(V)' * 5000}",
    ],
    ids=["cycle", "command", "nowhere", "doubled 40 times", "5000 deep", "5000 in a line"],
)
def test_what_is_not_known_is_not_guessed(text: str, tmp_path: Path) -> None:
    [(_, _, command)] = write(tmp_path, text)
    assert command.startswith("python a.py $(")


def test_a_justfile_has_its_own_signs(tmp_path: Path) -> None:
    text = "model := 'org/model'\nday := `date`\n\ntrain out='x': data\n"
    text += "    @python a.py {{ model }} {{out}} {{day}}\n"
    assert write(tmp_path, text, "justfile") == [(5, "train", "python a.py org/model {{out}} {{day}}")]


def test_make_reads_one_file_and_none_that_is_no_text(tmp_path: Path) -> None:
    assert makefiles.read(tmp_path) == []
    write(tmp_path, "t: ; a")
    assert write(tmp_path, "t: ; b", "GNUmakefile") == [(1, "t", "b")]
    (tmp_path / "GNUmakefile").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnreadableError, match="GNUmakefile: UTF-16"):
        makefiles.read(tmp_path)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", ["Makefile", "justfile"])
@pytest.mark.parametrize(
    "text", ["a" + " " * 500_000 + "b", "a" * 500_000, "a=" * 200_000, " \\\n" * 200_000]
)
def test_a_long_line_takes_no_time(text: str, name: str, tmp_path: Path) -> None:
    assert write(tmp_path, text, name) == []
