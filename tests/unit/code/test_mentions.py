"""Where a repository names environment variables and commands."""

from __future__ import annotations

from pathlib import Path

from tunematrix.code import mentions

FILES = {
    "train.sh": "export WANDB_DISABLED=true\npython train.py  # MY_WANDB_DISABLED is another\n",
    "train.py": 'os.environ["WANDB_DISABLED"] = "true"\n',
    "Makefile": "get:\n\thuggingface-cli download m; my-huggingface-cli-2\n",
    ".github/workflows/a.yml": "env:\n  WANDB_DISABLED: 1\n",
    "README.md": "WANDB_DISABLED\n",
    ".venv/x.py": "WANDB_DISABLED\n",
}


def test_words_in_code_scripts_and_workflows_are_found_but_not_in_texts(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = mentions.find(tmp_path, {"WANDB_DISABLED", "huggingface-cli"})
    assert sorted((use.name, use.place) for use in found) == [
        ("WANDB_DISABLED", ".github/workflows/a.yml:2"),
        ("WANDB_DISABLED", "train.py:1"),
        ("WANDB_DISABLED", "train.sh:1"),
        ("huggingface-cli", "Makefile:2"),
    ]
    assert list(mentions.find(tmp_path, ())) == []
    assert [use.place for use in mentions.find(tmp_path / "train.sh", {"WANDB_DISABLED"})] == ["train.sh:1"]
