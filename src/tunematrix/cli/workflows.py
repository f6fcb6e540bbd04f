"""The workflows that ``init`` writes: those of this project for other repositories, whole, to call none.

Each has at most 20 lines. The first runs what a pull request pins, with no right but to read; the second
writes the answer on it, and runs nothing of it.
"""

from __future__ import annotations

from typing import Final

from tunematrix import __version__

UPGRADE: Final = """\
name: tunematrix
on: { pull_request: { types: [opened, synchronize, reopened, labeled, unlabeled] } }
permissions: { contents: read }
jobs:
  upgrade:
    if: ${{ !endsWith(github.event.action, 'labeled') }}
    runs-on: ubuntu-latest
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2
        with: { fetch-depth: 0, persist-credentials: false }
      - uses: actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065 # v5.6.0
        with: { python-version: "PYTHON" }
      - run: pip install "tunematrix==RELEASE"
      - run: tunematrix pr upgrade --output answer
        continue-on-error: true
      - uses: actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2
        with: { name: tunematrix-answer, path: answer, if-no-files-found: error }
"""
COMMENT: Final = """\
on: { workflow_run: { workflows: [tunematrix], types: [completed] } } # zizmor: ignore[dangerous-triggers]
permissions: { actions: read, pull-requests: write, statuses: write }
jobs:
  comment:
    if: ${{ github.event.workflow_run.event == 'pull_request' }}
    runs-on: ubuntu-latest
    steps:
      - uses: actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065 # v5.6.0
        with: { python-version: "3.11" }
      - run: pip install --only-binary ":all:" "tunematrix==RELEASE"
      - run: tunematrix pr find
        id: find
        env: { GITHUB_TOKEN: "${{ github.token }}" }
      - uses: actions/download-artifact@d3f86a106a0bac45b974a628896c90dbdf5c8093 # v4.3.0
        if: ${{ steps.find.outputs.run }}
        with: { name: tunematrix-answer, path: answer,
                run-id: "${{ steps.find.outputs.run }}", github-token: "${{ github.token }}" }
      - run: tunematrix pr comment answer
        if: ${{ steps.find.outputs.pull }}
        env: { GITHUB_TOKEN: "${{ github.token }}" }
"""


def workflows(python: str) -> dict[str, str]:
    """By path, the workflows for a repository that runs on a Python version."""
    text = UPGRADE.replace("RELEASE", __version__).replace("PYTHON", python)
    comment = COMMENT.replace("RELEASE", __version__)
    folder = ".github/workflows"
    return {f"{folder}/tunematrix.yml": text, f"{folder}/tunematrix-comment.yml": comment}
