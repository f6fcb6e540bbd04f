"""Runs uv, configures where it gets packages, and classifies its failures."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import uv
from packaging import tags
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from tunematrix.base.errors import InfrastructureError, TunematrixError, UnresolvableError
from tunematrix.locks import index
from tunematrix.shared import stages
from tunematrix.shared.secrets import environment_of_tools

# Before any thread: find_uv_bin asks for them, and Python 3.11 gives a second thread those that the first has
# filled in so far.
sysconfig.get_config_vars()
TORCH_INDEX: Final = "pytorch.org"
CUDA: Final = re.compile(r"(nvidia|cuda|triton|pytorch-triton)(-|$)")  # names of packages
TIME_LIMIT: Final = 3600.0  # seconds; a slow network needs half an hour for a CUDA build of torch
# uv's words for a fault of the packages or of the request. Whatever else fails is the machine, the network or
# the index: uv has too many words for those to list them. An archive that cannot be opened is no fault of a
# release either, because proxies answer a download with a web page.
COMBINATION: Final = re.compile(
    r"no solution found|failed to build|no interpreter found|distribution not found|wheel is invalid"
    r"|malformed wheel|couldn't parse requirement|error parsing included file",
    re.IGNORECASE,
)
# Words for the machine, the network and the index that can stand in the explanation of one of these faults.
INFRASTRUCTURE: Final = re.compile(
    r"\(os error \d+\)|failed to fetch|failed to download and build|error sending request|http status"
    r"|could not be queried|returned a 403|network (was|connectivity is) disabled|hash mismatch|timed out",
    re.IGNORECASE,
)
BUILD_OUTPUT: Final = re.compile(r"^[ \t]*\[std(?:out|err)\]", re.MULTILINE)  # then a build backend speaks
NAME: Final = r"([A-Za-z0-9._-]{1,100})"
ABSENT: Final = re.compile(rf"(?<!\S){NAME}(?:\[\S{{0,100}}\])? was not found in|no versions? of {NAME}")


def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run uv with ``arguments`` and capture its output; a failure or the time limit raises nothing."""
    command = [uv.find_uv_bin(), *arguments]
    # In a session of its own, so that the time limit also ends the build backends that uv starts.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=_environment(),
        start_new_session=True,
    )
    with process:
        try:
            output, errors = process.communicate(stdin, TIME_LIMIT)
        except subprocess.TimeoutExpired:
            output, errors = "", f"uv {arguments[0]} was ended at its time limit of {TIME_LIMIT:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _environment() -> dict[str, str]:
    environment = environment_of_tools()
    environment.pop("VIRTUAL_ENV", None)
    if links := find_links():
        environment["UV_FIND_LINKS"] = ",".join(links)
    if url := index_url():
        environment["UV_DEFAULT_INDEX"] = url
    return {**environment, "UV_NO_PROGRESS": "1"}


def compile(  # noqa: A001  # the name of uv's command
    requirements: Iterable[str], constraints: Iterable[str], options: Iterable[str]
) -> subprocess.CompletedProcess[str]:
    """``uv pip compile`` of ``requirements`` under ``constraints``."""
    with tempfile.TemporaryDirectory() as scratch:
        constraints_file = Path(scratch) / "constraints.txt"
        constraints_file.write_text("".join(f"{line}\n" for line in constraints))
        stdin = "".join(f"{line}\n" for line in requirements)
        return run("pip", "compile", *options, "--constraint", str(constraints_file), "-", stdin=stdin)


def compile_over(
    packages: Mapping[str, str], requirements: Iterable[str], options: Sequence[str], platform: list[str]
) -> str:
    """The lock of ``requirements`` in which uv keeps the versions of ``packages`` where it can.

    ``platform`` are the options for a CPU build of torch (``cpu_first``). Raises ``UnresolvableError``.
    """
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "lock.txt"  # uv prefers what it finds there
        output.write_text("".join(f"{name}=={version}\n" for name, version in packages.items()))
        command = ["pip", "compile", "--quiet", "--no-header", *options, "--output-file", str(output), "-"]
        stdin = "".join(f"{line}\n" for line in requirements)
        completed = cpu_first(lambda torch: run(*command, *torch, stdin=stdin), platform)
        checked(completed, UnresolvableError)
        return output.read_text()


def freeze(venv: Path) -> str:
    """What is installed in an environment, one ``name==version`` a line; raises ``InfrastructureError``."""
    return checked(run("pip", "freeze", "--python", str(venv)), InfrastructureError).stdout


def checked(
    completed: subprocess.CompletedProcess[str], error_class: type[TunematrixError]
) -> subprocess.CompletedProcess[str]:
    """``completed`` if uv succeeded.

    Otherwise raises ``InfrastructureError`` or, if the packages are at fault, ``error_class``, with uv's
    message.
    """
    if not completed.returncode:
        return completed
    message = completed.stderr.strip()
    if completed.returncode < 0 or is_infrastructure(message):
        raise InfrastructureError(one_line(message) or f"uv ended with exit code {completed.returncode}")
    _check_absences(message)
    raise error_class(message)


def is_infrastructure(message: str) -> bool:
    """Whether uv's message is about the machine, the network or the index, and not about the packages."""
    own_words = BUILD_OUTPUT.split(message, maxsplit=1)[0]
    return (
        not COMBINATION.search(own_words)
        or INFRASTRUCTURE.search(own_words) is not None
        or stages.MACHINE_TROUBLE.search(message) is not None
    )


def _check_absences(message: str) -> None:
    """Check what uv says to be missing with the index; raises ``InfrastructureError``.

    For uv a login page is an index page without files, so it finds no version of anything there.
    """
    url = index_url()
    if url and not url.startswith(("http://", "https://")):
        return
    for package in {"".join(names).strip("._-") for names in ABSENT.findall(message)} - {""}:
        index.files(url, package)


def one_line(message: str) -> str:
    """uv's message as one line: what failed, and then its causes."""
    prefix = re.compile(r"^\s*(?:error|cause|caused by):\s*", re.IGNORECASE)
    lines = (prefix.sub("", line).strip() for line in message.splitlines())
    return ": ".join(line for line in lines if line)


def torch_options(specifier: str = "", python: str | None = None) -> list[str]:
    """The options that select where uv gets torch ``specifier`` for a Python version.

    If a find-links folder has such a wheel, none: ``torch_constraints`` makes uv take it. Otherwise
    ``--torch-backend``, with ``UV_TORCH_BACKEND`` or ``cpu``, because uv by default takes a CUDA build of
    several gigabytes.
    """
    return [] if torch_constraints(specifier, python) else torch_backend()


def cpu_first(
    attempt: Callable[[list[str]], subprocess.CompletedProcess[str]], options: list[str]
) -> subprocess.CompletedProcess[str]:
    """The result of ``attempt`` with the ``options`` for a CPU build of torch.

    Where the index of CPU builds cannot be reached, as behind a mirror of PyPI alone, without them: the
    packages then include those for CUDA.
    """
    completed = attempt(options)
    unreachable = TORCH_INDEX in completed.stderr and is_infrastructure(completed.stderr)
    return attempt([]) if options and completed.returncode and unreachable else completed


def has_cuda(packages: Iterable[str]) -> bool:
    """Whether ``packages`` have some for CUDA, so that their torch is not a CPU build."""
    return any(CUDA.match(name) for name in packages)


def torch_backend() -> list[str]:
    """The option to take torch from its own index."""
    return ["--torch-backend", os.environ.get("UV_TORCH_BACKEND", "cpu")]


def torch_constraints(specifier: str = "", python: str | None = None) -> list[str]:
    """A constraint to the newest wheel of torch ``specifier`` in the find-links folders, or none.

    uv takes the newest release wherever it is, so without a constraint a newer CUDA build on the index wins.
    """
    folders = (Path(link.removeprefix("file://")) for link in find_links())
    wheels = (wheel for folder in folders if folder.is_dir() for wheel in folder.glob("torch-*.whl"))
    versions = {version for wheel in wheels if (version := _usable_version(wheel.name, python))}
    matches = list(SpecifierSet(specifier).filter(versions, prereleases=True))
    return [f"torch=={max(matches)}"] if matches else []


def _usable_version(wheel: str, python: str | None) -> Version | None:
    """The version of a wheel that this platform and the Python version can install."""
    try:
        _, version, _, wheel_tags = parse_wheel_filename(wheel)
    except InvalidWheelFilename:
        return None
    interpreter = f"cp{python.replace('.', '', 1).partition('.')[0]}" if python else ""
    platforms = {"any", *tags.platform_tags()}
    usable = any(
        tag.platform in platforms
        and (tag.interpreter == (interpreter or tag.interpreter) or tag.abi == "abi3")
        for tag in wheel_tags
    )
    return version if usable else None


def find_links() -> tuple[str, ...]:
    """Folders or pages with wheels: ``UV_FIND_LINKS``, otherwise pip's setting, which uv does not read."""
    if links := os.environ.get("UV_FIND_LINKS"):
        return tuple(links.split(","))
    return tuple((_pip_setting("find-links") or "").split())


def index_url() -> str | None:
    """The package index that is configured for uv, otherwise for pip; None for uv's default."""
    url = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    return url or _pip_setting("index-url")


def _pip_setting(name: str) -> str | None:
    """A setting of pip: its environment variable, otherwise its configuration."""
    return os.environ.get(f"PIP_{name.replace('-', '_').upper()}") or _pip_config(name)


@functools.cache
def _pip_config(name: str) -> str | None:
    completed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", f"global.{name}"],
        env=environment_of_tools(),
        capture_output=True,
        text=True,
        check=False,
    )
    return completed.stdout.strip() if completed.returncode == 0 else None
