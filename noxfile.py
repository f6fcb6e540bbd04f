"""The nox sessions; ``nox -l`` lists them. The code that they run is in ``src/tunematrix``."""

from __future__ import annotations

import os
import sys

import nox

from tunematrix.cli import plan
from tunematrix.nox import sessions

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv"
nox.options.sessions = plan.default_sessions(sys.argv)
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"

# Where CI sets it, sessions have the versions of .github/requirements.txt too.
PINS = ["--constraint", os.environ["PIP_CONSTRAINT"]] if os.environ.get("PIP_CONSTRAINT") else []
GROUPS = ("build", "test", "lint", "browser")
TUNEMATRIX = [sys.executable, "-m", "tunematrix"]

sessions()


@nox.session
def tests(session: nox.Session) -> None:
    """Run the fast tests: about a minute, without the Hugging Face stack."""
    session.install("-e", ".", "--group", "test", *PINS)
    session.run("pytest", "--numprocesses", "auto", *session.posargs)


@nox.session(allow_parallel=True)
@nox.parametrize(
    "client", [nox.param(version, id=version) for version in ("0.26.5", "0.36.2", "1.33.0", "2.4.0")]
)
def clients(session: nox.Session, client: str) -> None:
    """Test the embedded Hub and the download stage with one version of huggingface_hub."""
    session.install(f"huggingface_hub=={client}", "pytest", "pytest-timeout", "click", "pyyaml")
    session.run("pytest", "tests/hub/clients", *session.posargs, env={"PYTHONPATH": "src"})


@nox.session
def tool(session: nox.Session) -> None:
    """Test the installed program with real uv, real processes and real weights."""
    session.install("-e", ".", "--group", "test", *PINS)
    # Side by side, since most of their time they wait for uv; a file's tests share what they set up.
    many = ["--numprocesses", "auto", "--dist", "loadfile"]
    options = ["-m", "integration and not nightly", "--durations", "20"]
    session.run("pytest", *many, *options, "tests/tool", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Test the page in Chromium, which lies at /usr/bin/chromium: apt-get install chromium."""
    session.install("-e", ".", "--group", "browser", *PINS)
    session.run("pytest", "-m", "integration", "tests/browser", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """Remake the pictures of the page in docs/images, in the same Chromium."""
    session.install("-e", ".", "--group", "browser", *PINS)
    session.run("python", "-m", "tests.browser.pictures", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the page, and a cell against a bare script with the same calls: nox -s bench -- [ROUNDS]."""
    session.run(sys.executable, "-m", "tests.bench.page", external=True)
    venv = session.virtualenv.location
    session.run(sys.executable, "tests/bench/run.py", venv, *session.posargs, external=True)


@nox.session(venv_backend="none")
def benchmarks(session: nox.Session) -> None:
    """Compare with tox and tox-uv on ten cells, and write docs/benchmarks.md; takes half an hour."""
    session.run(sys.executable, "tests/bench/others.py", *session.posargs)


@nox.session(venv_backend="none")
def scale(session: nox.Session) -> None:
    """Tell what listing, planning, merging and reporting cost with 10, 100 and 1,000 cells."""
    session.run(sys.executable, "tests/bench/scale.py", *session.posargs)


@nox.session(venv_backend="none")
def cases(session: nox.Session) -> None:
    """Check that known breakages and silent changes are detected: nox -s cases -- [--all | ID ...]."""
    session.run(sys.executable, "tests/cases/run.py", *session.posargs)


@nox.session(venv_backend="none")
def planted(session: nox.Session) -> None:
    """Check that faults planted into the newest stack become findings: nox -s planted -- [ID ...]."""
    session.run(sys.executable, "tests/cases/planted.py", *session.posargs)


@nox.session
def nightly(session: nox.Session) -> None:
    """Run what takes hours: 100,000 fuzzed inputs, slow tests, all known cases, planted faults."""
    session.install("-e", ".", "--group", "test", *PINS)
    session.run("pytest", "tests/fuzz", env={"TUNEMATRIX_FUZZ": "2500"})  # for each of its 41 tests
    session.run("pytest", "-m", "nightly", "tests/tool")
    session.run(sys.executable, "tests/cases/run.py", "--all", *session.posargs, external=True)
    session.run(sys.executable, "tests/cases/planted.py", external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, layers and workflows."""
    session.install("-e", ".", "--group", "lint", *PINS)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("actionlint")
    session.run("zizmor", "--offline", "--no-progress", ".github")


@nox.session(venv_backend="none")
def ladder(session: nox.Session) -> None:
    """Run every release of the stack once, and keep what each changed: nox -s ladder -- [--since DAY]."""
    session.run(*TUNEMATRIX, "ladder", *session.posargs)


@nox.session(venv_backend="none")
def renew(session: nox.Session) -> None:
    """Write .github/requirements.txt anew: the newest versions of what runs nox, the tests and the checks."""
    options = ["--universal", "--python-version", "3.11", "--upgrade", "--no-annotate", "--quiet"]
    options += ["--no-emit-index-url", "--no-emit-find-links", "--output-file", ".github/requirements.txt"]
    groups = [word for name in GROUPS for word in ("--group", name)]
    env = {"UV_CUSTOM_COMPILE_COMMAND": "nox -s renew"}
    session.run("uv", "pip", "compile", "pyproject.toml", *groups, *options, env=env)
