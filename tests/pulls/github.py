"""A server that speaks the routes of GitHub's API that this project uses, with planted faults."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "team/models"
TOKEN = "ghs_0123456789abcdefghijklmnop"
BOT = "github-actions[bot]"
SHA = "a" * 40
OTHER_SHA = "b" * 40
ANSWERED = "2026-11-28T10:00:00Z"


@dataclass
class GitHub:
    """The state of the repository; ``faults`` are answers that come first, by method and end of the path."""

    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    pulls: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    issues: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, str]] = field(default_factory=list)
    statuses: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    faults: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=dict)
    slow: list[str] = field(default_factory=list)  # requests that are done, and answered a second later

    def open_pull(self, number: int = 7, sha: str = SHA, labels: tuple[str, ...] = ()) -> None:
        names = [{"name": label} for label in labels]
        self.pulls.append({"number": number, "head": {"sha": sha, "label": "team:bump"}, "labels": names})

    def add_answer(self, run: int = 100, time: str = ANSWERED, *, expired: bool = False) -> None:
        entry = {"name": "tunematrix-answer", "created_at": time, "expired": expired}
        self.artifacts.setdefault(run, []).append(entry)

    def set_label(self, name: str, who: str, time: str) -> None:
        event = {"event": "labeled", "label": {"name": name}, "actor": {"login": who}, "created_at": time}
        self.events.append(event)

    def comment(self, body: str, author: str = BOT) -> int:
        self.comments.append({"id": 1000 + len(self.comments), "user": {"login": author}, "body": body})
        return int(self.comments[-1]["id"])

    def plant(
        self,
        request: str,
        status: int,
        headers: dict[str, str] | None = None,
        body: bytes = b'{"message": "planted"}',
    ) -> None:
        """Answer the next request that ends with ``request`` (``POST comments``) with ``status``."""
        self.faults.setdefault(request, []).append((status, headers or {}, body))

    def get(self, path: str, query: dict[str, str]) -> Any:
        """The content at a path below ``/repos/team/models/``; None if there is none."""
        size, number = int(query.get("per_page", 30)), int(query.get("page", 1))
        page = slice((number - 1) * size, number * size)
        artifacts = re.fullmatch(r"actions/runs/(\d+)/artifacts", path)
        if path == "issues":
            # GitHub would filter by label and creator too; nobody should lean on it.
            return [issue for issue in self.issues if query["state"] in ("all", issue["state"])][page]
        if path == "labels":
            return self.labels[page]
        if path == "pulls":
            return [pull for pull in self.pulls if pull["head"]["label"] == query["head"]][page]
        if path == "actions/runs":
            runs = [run for run in self.runs if run["head_sha"] == query["head_sha"]]
            return {"workflow_runs": runs[page]}
        if artifacts:
            return {"artifacts": self.artifacts.get(int(artifacts[1]), [])[page]}
        if re.fullmatch(r"issues/\d+/events", path):
            return self.events[page]
        return self.comments[page] if re.fullmatch(r"issues/\d+/comments", path) else None

    def change(self, method: str, path: str, content: dict[str, Any]) -> int:
        """Do what a request wants; returns its status."""
        if len(content.get("body", "")) > 65_536:
            return 422
        if len(content.get("title", "")) > 256:
            return 422
        if method == "POST" and path in ("issues", "pulls", "labels"):
            return self.create(path, content)
        if method == "PATCH" and (found := re.fullmatch(r"(issues|pulls)/(\d+)", path)):
            entries = self.issues if found[1] == "issues" else self.pulls
            matches = [entry for entry in entries if entry["number"] == int(found[2])]
            for entry in matches:
                entry.update(content)
            return 200 if matches else 404
        if method == "POST" and path.startswith("statuses/"):
            self.statuses.append((path.removeprefix("statuses/"), content))
            return 201
        if method == "POST" and re.fullmatch(r"issues/\d+/comments", path):
            self.comment(content["body"])
            self.comments[-1]["issue"] = int(path.split("/")[1])
            return 201
        for comment in self.comments:
            if method == "PATCH" and path == f"issues/comments/{comment['id']}":
                comment["body"] = content["body"]
                return 200
        return 404

    def create(self, kind: str, content: dict[str, Any]) -> int:
        if kind == "labels":
            self.labels.append({"name": content["name"]})
        elif kind == "pulls":
            head = {"label": f"{REPOSITORY.partition('/')[0]}:{content['head']}", "sha": SHA}
            self.pulls.append({**content, "number": len(self.pulls) + 1, "head": head, "labels": []})
        else:
            self.open_issue(**content)
        return 201

    def open_issue(
        self, title: str, body: str, labels: Iterable[str] = (), author: str = BOT, **more: Any
    ) -> dict[str, Any]:
        issue = {
            "number": 100 + len(self.issues),
            "title": title,
            "body": body,
            "state": "open",
            "user": {"login": author},
            "labels": [{"name": name} for name in labels],
            **more,
        }
        self.issues.append(issue)
        return issue

    def answer(self, method: str, path: str, query: dict[str, str], content: Any) -> tuple[int, Any]:
        if method != "GET":
            return self.change(method, path, content), {"message": "done, or not"}
        found = self.get(path, query)
        return (404, {"message": "Not Found"}) if found is None else (200, found)


def handler(github: GitHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            parts = urlsplit(self.path)
            github.requests.append(f"{self.command} {parts.path}")
            length = int(self.headers.get("Content-Length") or 0)
            content = json.loads(self.rfile.read(length)) if length else None
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, headers, body = self.planted(parts.path)
            if not status:
                path = parts.path.removeprefix(f"/api/v3/repos/{REPOSITORY}/")
                status, answer = github.answer(self.command, path, query, content)
                body = json.dumps(answer).encode()
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, body = 401, b'{"message": "Bad credentials"}'
            if f"{self.command} {parts.path.rpartition('/')[2]}" in github.slow:
                github.slow.pop()
                Event().wait(1)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # who waited too long has gone
                self.wfile.write(body)

        def planted(self, path: str) -> tuple[int, dict[str, str], bytes]:
            for request, faults in github.faults.items():
                method, _, end = request.partition(" ")
                if faults and self.command == method and path.endswith(end):
                    return faults.pop(0)
            return 0, {}, b""

        do_GET = do_POST = do_PATCH = respond  # noqa: N815  # http.server's names

        def log_message(self, *arguments: object) -> None:
            """Nothing: the requests are in ``GitHub.requests``."""

    return Handler


@contextmanager
def serving() -> Iterator[GitHub]:
    github = GitHub()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(github)) as server:
        github.url = f"http://127.0.0.1:{server.server_port}/api/v3"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield github
        server.shutdown()
        thread.join()
