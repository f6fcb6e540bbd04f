"""Which values of an option the sweep tries, read from the configuration class."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from tunematrix.harness.measures.sweep import domains


class Kind(Enum):
    LINEAR = "linear"
    COSINE = "cosine"


def described(default: Any, text: str, **metadata: Any) -> Any:
    return field(default=default, metadata={"help": text, **metadata})


@dataclass
class Config:
    flag: bool = False
    either: bool | None = None
    count: int = 3
    share: float | None = None
    kind: Kind = Kind.LINEAR
    mode: Literal["a", "b"] = "a"
    listed: str = described("x", "Possible values are: `'x'`, `'y'` and `'z'`. See `count`.")
    prose: str = described("x", "Replaces `'y'` in the text.")
    chosen: str = described("x", "", choices=["x", "y"])
    unknown: dict[str, Any] | None = None
    learning_rate: float = 0.01
    hub_token: str = ""
    _internal: int = 1


def tried(*without: str) -> dict[str, Any]:
    found = domains.options(Config(), without)
    return {option.name: option.values or option.reason for option in found}


def test_values_come_from_types_choices_and_help() -> None:
    assert tried() == {
        "flag": (True,),
        "either": (True, False),
        "count": (6,),
        "share": (0.5,),
        "kind": ("cosine",),
        "mode": ("b",),
        "listed": ("y", "z"),
        "prose": "no other value is known for its type",
        "chosen": ("y",),
        "unknown": "no other value is known for its type",
        "learning_rate": (0.02,),
        "hub_token": "uploads to a Hub",
    }


def test_options_of_another_sweep_are_left_out() -> None:
    assert tried().keys() - tried("count").keys() == {"count"}


def test_a_boolean_is_not_the_number_that_it_equals() -> None:
    @dataclass
    class Number:
        save_total_limit: int | bool = True

    [option] = domains.options(Number())
    assert option.values == (1,)


class Strange:
    """Neither comparable nor readable, as arrays and objects of other packages may be."""

    def __eq__(self, _: object) -> bool:
        raise TypeError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


def test_a_field_that_cannot_be_read_does_not_end_the_sweep() -> None:
    @dataclass
    class Odd:
        choices: str = field(default="x", metadata={"choices": 3})
        texts: str = field(default="x", metadata={"help": None})
        strange: Any = field(default_factory=Strange)
        unhashable: str = field(default="x", metadata={"choices": [["a"], "y"]})
        count: int = 3

    found = {option.name: option for option in domains.options(Odd())}
    assert found["choices"].reason == "its values cannot be read: TypeError"
    assert found["unhashable"].values == (["a"], "y")
    assert found["count"].values == (6,)
    assert set(found) == {"choices", "texts", "strange", "unhashable", "count"}
