"""The sweep over the options of further trainers: 40 s of one core, so only with ``--depth deep``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tunematrix.harness.measures import trainer_online, trainers
from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.sweep.runs import FULL_BASE, Bench, measure_of
from tunematrix.harness.measures.trainer_lab import Found, find_trainer

Make = Callable[[Lab, Found, Mapping[str, Any]], Any]


def _online(options: Mapping[str, Any]) -> Make:
    def make(lab: Lab, found: Found, changes: Mapping[str, Any]) -> Any:
        return trainer_online.make_online(lab, found, {**options, **changes}, trainer_online.Rollouts())

    return make


MAKERS: Final[Mapping[str, Make]] = {
    "Reward": trainers.make_reward,
    "KTO": trainers.make_kto,
    "ORPO": trainers.make_orpo,
    "CPO": trainers.make_cpo,
    "GRPO": _online(trainer_online.GRPO),
    "RLOO": _online(trainer_online.RLOO),
}


def _sweep_of(algorithm: str) -> Callable[[Lab], None]:
    def make(lab: Lab) -> tuple[str, Bench]:
        found = find_trainer(algorithm)

        def build(_: Bench, options: Mapping[str, Any], __: str) -> Any:
            evaluated = {"evaluated"} | (set(FULL_BASE) if "evaluated" in options else set())
            kept = {name: value for name, value in options.items() if name not in evaluated}
            return MAKERS[algorithm](lab, found, {"max_steps": 2, **kept})

        online = trainer_online.ONLINE if algorithm in ("GRPO", "RLOO") else {}
        bench = Bench(lab=lab, build=build, kinds=("own",), options=online)
        return f"{found.module}.{found.config.__name__}", bench

    return measure_of(f"{algorithm}Config", make)


ALL: Final = tuple(_sweep_of(algorithm) for algorithm in MAKERS)
