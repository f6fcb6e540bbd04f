"""The baseline of ``nox -s bench``: the pipeline calls of one cell in one script, the stack imported once.

``python bare.py REPO FOLDER``, under a cell's stack, with ``HF_ENDPOINT`` set.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tunematrix.harness.stages import import_stack
from tunematrix.pipeline import cli
from tunematrix.pipeline.trace import Trace

REPO, FOLDER = sys.argv[1], Path(sys.argv[2])
MODEL = FOLDER / "model"
SAMPLE = {"prompt": "The color of the sky is"}
TEXTS = [
    {"text": text} for text in ("The sky is blue.", "Grass is green.", "The sun is warm.", "Water is wet.")
]
PAIRS = [{"prompt": "Sky?", "chosen": "Blue.", "rejected": "No."}] * 4


def run_command(command: str, config: dict[str, Any], *arguments: str) -> None:
    path = FOLDER / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    cli.run([command, "--config", str(path), *arguments], Trace())


def train(command: str, start: Path, name: str, steps: int, *arguments: str) -> Path:
    output = FOLDER / name
    section = "training" if command == "finetune" else "alignment"
    schedule = {"max_steps": steps, "learning_rate": 0.02, "output_dir": str(output)}
    data = {"path": str(FOLDER / f"{command}.json")}
    if command == "finetune":
        schedule["max_seq_length"], data["text_field"] = 64, "text"
    config = {
        "model": {"path": str(start)},
        "dataset": data,
        section: schedule,
        "sample": SAMPLE,
        "device": "cpu",
    }
    run_command(command, config, *arguments)
    return output


def main() -> None:
    FOLDER.mkdir()
    (FOLDER / "finetune.json").write_text(json.dumps(TEXTS))
    (FOLDER / "align.json").write_text(json.dumps(PAIRS))
    import_stack(Trace())
    run_command("download", {"models": [{"repo": REPO, "output_dir": str(MODEL)}]})
    tuned = train("finetune", MODEL, "tuned", 1)
    aligned = train("align", tuned, "aligned", 1)
    for saved in (MODEL, tuned, aligned):
        run_command(
            "generate", {"model": {"path": str(saved)}, "sample": SAMPLE, "output_dir": str(FOLDER / "s")}
        )
    for command, start in (("finetune", MODEL), ("align", train("finetune", MODEL, "start", 1))):
        whole = train(command, start, f"{command}-whole", 2)
        killed = shutil.copytree(whole / "checkpoint-1", FOLDER / f"{command}-killed" / "checkpoint-1")
        train(command, start, f"{command}-resumed", 2, "--resume", str(killed))
    program = FOLDER / "program.yaml"
    entry = {"repo": REPO, "output_dir": str(FOLDER / "program"), "files": ["config.json"]}
    program.write_text(yaml.safe_dump({"models": [entry]}))
    command_line = [sys.executable, "-m", "tunematrix.pipeline", "download", "--config", str(program)]
    subprocess.run(command_line, check=True)


main()
