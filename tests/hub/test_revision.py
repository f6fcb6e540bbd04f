"""A Hub that is not ours reports the commit of a model before anything is downloaded."""

from __future__ import annotations

from tunematrix.hub.server import Server
from tunematrix.run import revision


def test_the_commit_of_a_model_comes_from_the_hub(hub: Server) -> None:
    variables = {"HF_ENDPOINT": hub.url}

    assert revision.current("org/model", variables) == hub.repos["org/model"].commit
    assert revision.current("org/missing", variables) == revision.UNRESOLVED


def test_a_hub_that_is_away_resolves_nothing() -> None:
    assert revision.current("org/model", {"HF_ENDPOINT": "http://127.0.0.1:9"}) == revision.UNRESOLVED
