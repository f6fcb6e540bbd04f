"""``workload.toml``: what it may say, and what of a repository decides whether a record is reused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.harness import copies
from tunematrix.run import repository, scripts, workload
from tunematrix.run.options import Options
from tunematrix.shared.repositories import LEFT_OUT

STAGES = """\
[[stage]]
name = "sft"
run = "python train_sft.py --model {model} --data data/chat.jsonl --output {out}/sft"
resume = "--resume {out}/sft/checkpoint-1"
keep = ["{out}/sft"]
[[stage]]
name = "dpo"
after = ["sft"]
run = "python -m team.dpo --config=dpo.yaml"
seconds = 300
"""


@pytest.fixture(name="team", autouse=True)
def _team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "workload.toml": STAGES,
        "train_sft.py": "from common import collate\n",
        "common.py": "",
        "team/dpo.py": "import team.losses\n",
        "team/losses.py": "",
        "data/chat.jsonl": "{}",
        "dpo.yaml": "data: more.json",
        "more.json": "[]",
        "team/conf.py": "",
        "src/lib/model.py": "",
        "conf/a.conf": "",
        "data/notes.md": "",
        "README.md": "",
        "docs/guide.txt": "",
        "run.log": "",
        "constraints/accepted.toml": "",
        "out/tiny/ours.json": "",
        ".venv2/pyvenv.cfg": "",
        ".venv2/site.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_variables_are_those_of_all_stages_and_of_the_stage(team: Path) -> None:
    text = 'env = { WANDB_MODE = "offline", A = "1" }\n' + STAGES + 'env = { A = "{out}" }\n'
    (team / "workload.toml").write_text(text)
    sft, dpo = scripts.load(team).stages
    assert sft.env == {"WANDB_MODE": "offline", "A": "1"}
    assert dpo.env == {"WANDB_MODE": "offline", "A": "{out}"}


@pytest.mark.parametrize("env", ["{ A = 1 }", '{ "A B" = "x" }', '{ A = "{outt}" }', '"A=1"'])
def test_variables_that_cannot_be_set_are_refused(env: str, team: Path) -> None:
    for text in (f"env = {env}\n{STAGES}", f"{STAGES}env = {env}\n"):
        (team / "workload.toml").write_text(text)
        with pytest.raises(UsageError, match="env"):
            scripts.load(team)


def test_stages_are_read_in_their_order(team: Path) -> None:
    found = scripts.load(team)
    assert found.names == ("import", "sft", "sft-resume", "dpo")
    assert found.model == "tiny-llama"
    assert (found.stages[1].after, found.stages[1].seconds) == (("sft",), 300)
    found.write(team / "out.json")
    content = json.loads((team / "out.json").read_text())
    assert content["folder"] == str(team)
    assert content["stages"][0]["keep"] == ["{out}/sft"]


def test_a_workload_here_is_the_workload_and_names_the_model(team: Path) -> None:
    assert Options.of().workload == Path("workload.toml")
    assert Options.of().model == "tiny-llama"
    assert Options.of(model="tiny-gpt2").model == "tiny-gpt2"
    (team / "workload.toml").write_text(f'model = "tiny-gpt2"\n{STAGES}')
    assert Options.of().model == "tiny-gpt2"
    (team / "workload.toml").unlink()
    assert Options.of().scripts is None
    assert Options.of().model == "smollm2-135m"


def test_a_command_is_a_workload_of_one_line() -> None:
    options = Options.of(command="python train_sft.py")
    assert options.scripts
    assert options.scripts.names == ("import", "run")
    with pytest.raises(UsageError, match="--workload or --run"):
        Options(command="x", workload=Path("workload.toml")).check()


@pytest.mark.parametrize(
    "file",
    [
        "train_sft.py",
        "common.py",
        "team/dpo.py",
        "team/losses.py",
        "data/chat.jsonl",
        "dpo.yaml",
        "more.json",
        "team/conf.py",  # by a relative import
        "src/lib/model.py",  # by a path that is put on sys.path
        "conf/a.conf",  # by a path that is joined at run time
        "data/notes.md",
    ],
)
def test_what_a_stage_reads_is_part_of_its_key(file: str, team: Path) -> None:
    before = workload.digest_of(Options.of())
    (team / file).write_text(f"{(team / file).read_text()} ")
    assert workload.digest_of(Options.of()) != before


@pytest.mark.parametrize(
    "file",
    [
        "README.md",
        "docs/guide.txt",
        "run.log",
        "constraints/accepted.toml",
        "out/tiny/ours.json",
        ".venv2/site.py",
        "wandb/run.json",
    ],
)
def test_what_no_stage_can_read_is_not_part_of_its_key(
    file: str, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEMATRIX_RESULTS", "out")
    before = workload.digest_of(Options.of())
    (team / file).parent.mkdir(exist_ok=True)
    (team / file).write_text("other")
    assert workload.digest_of(Options.of()) == before


def test_the_commands_are_part_of_the_key(team: Path) -> None:
    before = workload.digest_of(Options.of())
    (team / "workload.toml").write_text(STAGES.replace("dpo.yaml", "dpo.yaml --seed 2"))
    assert workload.digest_of(Options.of()) != before


def test_a_folder_of_documents_counts_if_the_code_names_it(team: Path) -> None:
    (team / "team" / "losses.py").write_text('Path("docs").glob("*.txt")')
    before = workload.digest_of(Options.of())
    (team / "docs/guide.txt").write_text("other")
    assert workload.digest_of(Options.of()) != before


@pytest.mark.parametrize(
    "text", ["PATH = '{home}/shared/conf.yaml'", 'open(expanduser("~/shared/conf.yaml"))']
)
def test_a_file_outside_that_any_source_names_is_part_of_the_key(
    text: str, team: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    outside = home / "shared" / "conf.yaml"
    outside.parent.mkdir()
    outside.write_text("1")
    (team / "team" / "conf.py").write_text(text.replace("{home}", str(home)))
    before = workload.digest_of(Options.of())
    outside.write_text("2")
    assert workload.digest_of(Options.of()) != before


def test_large_files_count_by_size_and_time_and_linked_folders_as_in_the_copy(
    team: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    linked = tmp_path_factory.mktemp("linked")
    (linked / "x.py").write_text("1")
    (team / "linked").symlink_to(linked)
    (team / "linked_again").symlink_to(team)  # a folder that it lies in
    (team / "weights.bin").write_bytes(bytes(repository.SMALL + 1))
    before = workload.digest_of(Options.of())
    assert workload.digest_of(Options.of()) == before
    os.utime(team / "weights.bin", (1, 1))
    touched = workload.digest_of(Options.of())
    (linked / "x.py").write_text("22")
    assert before != touched != workload.digest_of(Options.of())


def test_the_key_leaves_out_what_the_copy_leaves_out(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "train.py").write_text("1")
    before = repository.digest(theirs)
    for name in LEFT_OUT:
        (theirs / name).mkdir()
        (theirs / name / "x.py").write_text("1")
    assert repository.digest(theirs) == before
    copies.copy_repository(theirs, tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["train.py"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (STAGES, "", "no [[stage]]"),
        ('name = "sft"', 'nme = "sft"', "unknown key 'nme'; did you mean 'name'?"),
        ('name = "dpo"', 'name = "sft"', "two stages are called sft"),
        ('name = "dpo"', 'name = "a b"', "name: letters"),
        ('name = "dpo"', 'name = "import"', "name: letters"),
        ('name = "dpo"', 'name = "x-resume"', "name: letters"),
        ('name = "dpo"', 'name = " "', "needs name"),
        ('after = ["sft"]', 'after = ["sfx"]', "no earlier stage 'sfx'; did you mean 'sft'?"),
        ('after = ["sft"]', 'after = ["dpo"]', "dpo: after: a stage cannot come after itself"),
        (
            'resume = "',
            'after = ["dpo"]\nresume = "',
            "sft: after: stage dpo stands below it; stages run from top",
        ),
        ('after = ["sft"]', "after = [1]", "must be a list of texts"),
        (
            'keep = ["{out}/sft"]',
            'keep = ["/etc"]',
            "keep: '/etc' is no folder in {out}, such as '{out}/sft'",
        ),
        ('keep = ["{out}/sft"]', 'keep = ["{out}/../x"]', "keep: '{out}/../x' is no folder in {out}"),
        ('keep = ["{out}/sft"]', 'keep = ["{out}"]', "keep: '{out}' is no folder in {out}"),
        ('keep = ["{out}/sft"]', 'keep = ["{model}"]', "keep: '{model}' is no folder in {out}"),
        ('keep = ["{out}/sft"]', 'keep = [""]', "keep: '' is no folder in {out}"),
        ('keep = ["{out}/sft"]', 'keep = ["{otu}/sft"]', "keep: {otu}; did you mean 'out'?"),
        (
            'after = ["sft"]',
            'keep = ["{out}/sft/x"]',
            "dpo: keep: '{out}/sft/x': stage sft keeps '{out}/sft' already",
        ),
        ('resume = "--resume {out}/sft/checkpoint-1"', 'resume = " "', "sft: resume: is empty"),
        ("[[stage]]", 'model = ""\n[[stage]]', "model: is empty; leave it out for tiny-llama"),
        (
            "python -m team.dpo",
            "A=1 && python -m team.dpo",
            "dpo: run: '&&' is for a shell, and none runs this",
        ),
        ("--config=dpo.yaml", "--config=dpo.yaml > log", "dpo: run: '>' is for a shell"),
        ("--config=dpo.yaml", "--config=$HOME/dpo.yaml", "dpo: run: '$HOME/dpo.yaml' is for a shell"),
        ("python -m team.dpo --config=dpo.yaml", "A=1", "dpo: run: 'A=1' has no program"),
        ("{model}", "{modle}", "{modle}; did you mean 'model'?"),
        ("--config=dpo.yaml", "--config='dpo.yaml", "No closing quotation"),
        ("seconds = 300", "seconds = -1", "seconds: a number"),
        ("seconds = 300", 'seconds = "1"', "seconds: must be a whole number"),
        ("[[stage]]", "schema = 2\n[[stage]]", "this release reads schema = 1"),
    ],
)
def test_bad_input_is_told_in_a_line(old: str, new: str, message: str, team: Path) -> None:
    (team / "workload.toml").write_text(STAGES.replace(old, new, 1))
    with pytest.raises(UsageError) as error:
        Options.of().check()
    assert message in str(error.value)
    assert "workload.toml" in str(error.value)


def test_a_workload_that_is_not_there_is_told(team: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        Options(workload=team / "none").check()


@pytest.mark.parametrize(
    "command",
    [
        "bash -c 'python train_sft.py && echo $HOME > x'",
        'bash -c "a; b $HOME"',
        "python train_sft.py --separator '|' --pattern x$ --template '{\"a\": 1}'",
        "python train_sft.py --files data/*.json it\\'s",
        "A=1 python train_sft.py",
        "python {out}/made.py",
        "python -c pass",
        "./train_sft.py",
        "trl sft --config sft.yaml",
    ],
)
def test_commands_that_a_program_understands_are_fine(command: str, team: Path) -> None:
    Options(command=command).check()


@pytest.mark.parametrize(
    "command", ["python none.py --x", "A=1 python3.11 none.py", "bash none.sh", "./none.py"]
)
def test_a_script_that_is_not_there_is_told_before_anything_is_installed(command: str, team: Path) -> None:
    with pytest.raises(UsageError, match=r"stage run: run: (\./)?none\.(py|sh): no such file in "):
        Options(command=command).check()
    stage = f"[[stage]]\nname = 'x'\nafter = ['sft']\nrun = '{command}'\n"
    (team / "workload.toml").write_text(f"{STAGES}{stage}")
    Options.of().check()  # a stage before may write it


def test_a_script_that_no_cell_gets_is_told(team: Path) -> None:
    (team / "results").mkdir()
    (team / "results/train.py").touch()
    with pytest.raises(
        UsageError, match=r"run: results/train.py: a cell gets no folder called results; move"
    ):
        Options(command="python results/train.py").check()
    (team / "inner").mkdir()
    (team / "inner/workload.toml").write_text('[[stage]]\nname = "x"\nrun = "python ../train_sft.py"\n')
    with pytest.raises(UsageError, match=r"stage x: run: ../train_sft.py is outside of the folder, of which"):
        Options(workload=team / "inner").check()
    Options(command=f"python {team / 'train_sft.py'}").check()
