"""Files that list packages: what is in them for a Python version, and one message for every oddity."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.locks import package_files


def read(folder: Path, name: str, text: str, python: str = "3.11") -> package_files.PackageFile:
    path = folder / name
    path.write_text(text)
    return package_files.read(path, python)


def names(listed: package_files.PackageFile) -> list[str]:
    return [str(requirement) for requirement in listed.requirements]


def test_lines_options_and_places(tmp_path: Path) -> None:
    text = (
        "# ours\ntrl==1.0  # pinned\r\ntransformers \\\n  >=4 \\\n  --hash=sha256:00 --hash=sha256:11\n"
        "-i https://host\n--pre\n-e ./local\n--editable=git+https://user:hf_canary@host/x#egg=x\n"
        "./a.whl\nb.tar.gz\nother @ https://host/other.whl\nC:/x.whl\nfile:///y\n"
    )

    listed = read(tmp_path, "r.txt", text)

    assert names(listed) == ["trl==1.0", "transformers>=4"]
    assert listed.others == [
        "./local", "git+https://host/x#egg=x", "./a.whl", "b.tar.gz", "other", "C:/x.whl", "file:///y",
    ]  # fmt: skip


@pytest.mark.parametrize("include", ["-r {}", "-r{}", "--requirement {}", "--requirement={}"])
def test_included_files_are_relative_to_the_file_that_includes_them(tmp_path: Path, include: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.txt").write_text("-c limits.txt\n-r more.txt\n")
    (tmp_path / "sub" / "more.txt").write_text("peft==1.0\n")
    (tmp_path / "sub" / "limits.txt").write_text("numpy<2\n-r more.txt\nfork @ https://host/x.whl\n")

    listed = read(tmp_path, "r.txt", f"{include.format('sub/base.txt')}\n-r sub/more.txt\ntrl==1.0\n")

    assert names(listed) == ["peft==1.0", "trl==1.0"]
    assert [str(item) for item in listed.constraints] == ["numpy<2", "peft==1.0"]
    assert listed.others == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"r.txt": "trl = 1.0\n"}, "r.txt: line 1: 'trl = 1.0' is not a requirement"),
        ({"r.txt": "a==1 \\\n\n\nx y\n"}, "r.txt: line 4: 'x y' is not a requirement"),
        ({"r.txt": "trl==1.0\n-r r.txt\n"}, "r.txt: includes itself, in r.txt; remove that line"),
        ({"r.txt": "-r a.txt\n", "a.txt": "-c r.txt\n"}, "r.txt: includes itself, in a.txt"),
        ({"r.txt": "-r none.txt\n"}, "none.txt: no such file"),
        ({"r.txt": "-r https://host/r.txt\n"}, "line 1: a file at a URL cannot be included"),
        ({"r.txt": "trl==" + "9" * 5000}, "is not a requirement"),
        ({"r.txt": "trl===x\n"}, "is not a requirement"),
        ({"r.txt": "a=https://user:hf_canary@host\n"}, "line 1: 'a=https://host' is not a requirement"),
        ({"r.txt": "a ; python_version ~= 'x'\n"}, "is not an environment marker"),
        ({"a.toml": "[project]\nname = 'x'\n"}, "neither a pylock.toml nor a uv.lock"),
        ({"a.toml": "["}, "not TOML"),
        ({"uv.lock": "package = 5\n"}, "neither a pylock.toml nor a uv.lock"),
        ({"uv.lock": "package = [1]\n"}, "uv.lock: package 1: must be a table"),
        ({"uv.lock": "[[package]]\nversion = '1'\n"}, "package 1: name: None is not the name of a package"),
        ({"uv.lock": "[[package]]\nname = 'x y'\n"}, "name: 'x y' is not the name"),
        ({"uv.lock": "[[package]]\nname = 'x'\nversion = 'x y'\n"}, "1, x: version: 'x y' is not a version"),
        ({"uv.lock": "[[package]]\nname = 'x'\nversion = 1\n"}, "version: 1 is not a version"),
        ({"uv.lock": "[[package]]\nname = 'x'\nsource = 'x'\n"}, "source: must be a table"),
        ({"uv.lock": "[[package]]\nname = 'x'\nmarker = 5\n"}, "its markers must be texts"),
        ({"uv.lock": "[[package]]\nname = 'x'\nresolution-markers = [5]\n"}, "its markers must be texts"),
        ({"uv.lock": "[[package]]\nname = 'x'\nmarker = 'x'\n"}, "'x' is not an environment marker"),
        ({"uv.lock": "default-groups = 'x'\n[[package]]\nname = 'x'\n"}, "default-groups: must be a list"),
    ],
)
def test_oddities(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(UsageError) as raised:
        package_files.read(tmp_path / next(iter(files)), "3.11")

    assert message in str(raised.value)
    assert "hf_canary" not in str(raised.value)


def test_a_long_chain_of_files_is_an_error(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n")

    with pytest.raises(UsageError, match="included through more than 50 files"):
        package_files.read(tmp_path / "0.txt", "3.11")


def test_files_that_include_each_other_twice_are_read_once(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n-r {number + 1}.txt\n")
    (tmp_path / "40.txt").write_text("trl==1.0\n")

    assert names(package_files.read(tmp_path / "0.txt", "3.11")) == ["trl==1.0"]


@pytest.mark.parametrize(
    ("marker", "python", "holds"),
    [
        ("python_full_version >= '3.11.4'", "3.11", True),
        ("python_full_version < '3.11.4'", "3.11", False),
        ("python_full_version >= '3.12'", "3.11", False),
        ("python_full_version < '3.11.4'", "3.11.2", True),
        ("python_version == '3.11'", "3.11.2", True),
        ("extra == 'dev'", "3.11", False),
        ("'dev' in dependency_groups", "3.11", True),
        ("'docs' in dependency_groups", "3.11", False),
    ],
)
def test_markers(tmp_path: Path, marker: str, python: str, holds: bool) -> None:
    text = f'default-groups = ["dev"]\n[[packages]]\nname = "trl"\nversion = "1.0"\nmarker = "{marker}"\n'

    assert names(read(tmp_path, "pylock.toml", text, python)) == (["trl==1.0"] if holds else [])


UV_LOCK = """
version = 1
[[package]]
name = "ours"
version = "0.1"
source = { virtual = "." }
[[package]]
name = "trl"
version = "1.0"
source = { registry = "https://index" }
[[package]]
name = "numpy"
version = "1.0"
source = { registry = "https://index" }
resolution-markers = ["python_full_version < '3.11'"]
[[package]]
name = "numpy"
version = "2.0"
source = { registry = "https://index" }
resolution-markers = ["python_full_version >= '3.11'"]
[[package]]
name = "fork"
version = "2.0"
source = { git = "https://host/fork" }
"""
PYLOCK = """
lock-version = "1.0"
[[packages]]
name = "trl"
version = "1.0"
[[packages]]
name = "numpy"
version = "2.0"
marker = "python_version >= '3.11'"
[[packages]]
name = "tomli"
version = "2.0"
marker = "python_version < '3.11'"
[[packages]]
name = "fork"
vcs = { type = "git", url = "https://host/fork" }
"""


@pytest.mark.parametrize(("name", "text"), [("uv.lock", UV_LOCK), ("pylock.toml", PYLOCK)])
def test_uv_lock_and_pylock_are_read_for_the_cells_python(tmp_path: Path, name: str, text: str) -> None:
    listed = read(tmp_path, name, text)

    assert names(listed) == ["trl==1.0", "numpy==2.0"]
    assert listed.others == ["fork"]


EDGES = """
version = 1
[[package]]
name = "ours"
source = { virtual = "." }
dependencies = [
    { name = "trl", extra = ["fast"] },
    { name = "torch", version = "2.13.0", source = { registry = "x" }, marker = "sys_platform == 'other'" },
    { name = "torch", version = "2.13.0+cpu", source = { registry = "y" }, marker = "os_name != 'other'" },
    { name = "docker" },
]
[package.optional-dependencies]
eval = [{ name = "evaluate" }]
[package.dev-dependencies]
dev = [{ name = "ruff" }]
[[package]]
name = "trl"
version = "1.0"
source = { git = "https://host/trl" }
dependencies = [{ name = "peft" }]
optional-dependencies = { fast = [{ name = "liger" }], other = [{ name = "unused" }] }
[[package]]
name = "docker"
version = "7.0"
source = { registry = "https://a.example/simple" }
dependencies = [{ name = "pywin32", marker = "sys_platform == 'other'" }, { name = "docker" }]
"""


def test_of_a_uv_lock_counts_what_its_project_needs_on_this_platform(tmp_path: Path) -> None:
    """pywin32, which only docker on Windows needs, made such a lock unusable elsewhere."""
    entries = {"torch": "y", "peft": "x", "liger": "x", "unused": "x", "pywin32": "x", "evaluate": "x"}
    text = EDGES + "".join(
        f'[[package]]\nname = "{name}"\nversion = "2.13.0{"+cpu" if name == "torch" else ""}"\n'
        f'source = {{ registry = "{source}" }}\n'
        for name, source in entries.items()
    )
    text += '[[package]]\nname = "torch"\nversion = "2.13.0"\n'
    text += 'source = { registry = "https://a.example/simple" }\n'
    text += '[[package]]\nname = "ruff"\nversion = "1.0"\n'

    listed = read(tmp_path, "uv.lock", text)

    assert names(listed) == [
        "docker==7.0", "torch==2.13.0+cpu", "peft==2.13.0", "liger==2.13.0", "evaluate==2.13.0", "ruff==1.0",
    ]  # fmt: skip
    assert listed.others == ["trl"]


POETRY_LOCK = """
[[package]]
name = "transformers"
version = "4.57.6"
optional = false
python-versions = ">=3.9"
[package.dependencies]
numpy = ">=1.17"
[package.source]
type = "legacy"
url = "https://private/simple"
reference = "private"
[[package]]
name = "numpy"
version = "2.0.2"
markers = "python_version < \\"3.10\\""
[[package]]
name = "numpy"
version = "2.2.6"
markers = "python_version >= \\"3.10\\""
[[package]]
name = "colorama"
version = "0.4"
markers = { main = "sys_platform == \\"other\\"", dev = "python_version < \\"3\\"" }
[[package]]
name = "bitsandbytes"
version = "1.0"
optional = true
markers = "extra == \\"cuda\\""
[[package]]
name = "peft"
version = "0.18.0"
[package.source]
type = "git"
url = "https://host/peft"
reference = "main"
""".replace("\\\\", "\\")


def test_a_poetry_lock_has_markers_and_releases_on_private_indexes(tmp_path: Path) -> None:
    listed = read(tmp_path, "poetry.lock", POETRY_LOCK)

    assert names(listed) == ["transformers==4.57.6", "numpy==2.2.6"]
    assert listed.others == ["peft"]


def test_the_files_that_a_file_includes_are_known(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("trl==1.0\n")

    listed = read(tmp_path, "requirements.txt", "-r base.txt\n-c base.txt\n")

    assert [path.name for path in listed.files] == ["requirements.txt", "base.txt"]


@pytest.mark.parametrize(
    "line",
    [
        "dependencies = [1]",
        "dependencies = [{ name = 1 }]",
        "dependencies = [{ name = 'x', marker = 1 }]",
        "dependencies = [{ name = 'x', extra = [1] }]",
        "optional-dependencies = 1",
        "markers = { main = 1 }",
    ],
)
def test_odd_entries_of_a_uv_lock_are_errors(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"uv\.lock: package 1, x: "):
        read(tmp_path, "uv.lock", f"[[package]]\nname = 'x'\n{line}\nsource = {{ virtual = '.' }}\n")
