"""The Hub over real sockets: what the client versions rely on, and the faults that it can inject."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.hub.conftest import FILES
from tunematrix.hub.__main__ import main
from tunematrix.hub.faults import KINDS, Faults
from tunematrix.hub.server import Server
from tunematrix.hub.store import index_root

WEIGHTS = FILES["model.safetensors"]
DOCS = Path(__file__).parents[2] / "docs/hub.md"
Response = tuple[int, http.client.HTTPMessage, bytes]


def send(hub: Server, method: str, path: str, body: str | None = None, **headers: str) -> Response:
    connection = http.client.HTTPConnection("127.0.0.1", hub.server_address[1], timeout=5)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def get_json(hub: Server, path: str, **headers: str) -> Any:
    status, _, body = send(hub, "GET", path, **headers)
    assert status == 200
    return json.loads(body)


def commit(hub: Server) -> str:
    return hub.repos["org/model"].commit


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("repo", ["org/model", "gpt2"])
def test_a_file_has_the_headers_that_every_client_needs(hub: Server, repo: str, name: str) -> None:
    status, headers, body = send(hub, "GET", f"/{repo}/resolve/main/{urllib.parse.quote(name)}")

    assert status == 200
    assert body == FILES[name]
    assert headers["X-Repo-Commit"] == hub.repos[repo].commit
    assert headers["Content-Length"] == str(len(body))
    assert headers["ETag"] == f'"{hub.repos[repo].files[name].etag}"'
    assert not [header for header in headers if "xet" in header.lower()]


def test_head_has_the_headers_of_get_without_a_body(hub: Server) -> None:
    status, headers, body = send(hub, "HEAD", f"/org/model/resolve/{commit(hub)}/model.safetensors")

    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(WEIGHTS))


def test_ids_are_those_of_git_and_lfs(hub: Server) -> None:
    files = hub.repos["org/model"].files
    config = FILES["config.json"]

    assert files["config.json"].etag == hashlib.sha1(f"blob {len(config)}\0".encode() + config).hexdigest()
    assert files["model.safetensors"].etag == hashlib.sha256(WEIGHTS).hexdigest()
    assert files["model.safetensors"].oid != files["model.safetensors"].etag


def test_the_commit_depends_only_on_content(hub: Server, tmp_path: Path) -> None:
    for name, content in FILES.items():
        path = tmp_path / "other/name" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    copied = index_root(tmp_path)["other/name"].commit
    (tmp_path / "other/name/config.json").write_text("{}")

    assert copied == commit(hub)
    assert len(copied) == 40
    assert index_root(tmp_path)["other/name"].commit != copied


@pytest.mark.parametrize(
    ("byte_range", "first", "last"),
    [("bytes=100-199", 100, 199), ("bytes=255990-", 255_990, 255_999), ("bytes=-5", 255_995, 255_999)],
)
def test_a_range_of_a_file_is_a_206(hub: Server, byte_range: str, first: int, last: int) -> None:
    status, headers, body = send(hub, "GET", "/org/model/resolve/main/model.safetensors", Range=byte_range)

    assert status == 206
    assert headers["Content-Range"] == f"bytes {first}-{last}/256000"
    assert body == WEIGHTS[first : last + 1]


def test_a_range_beyond_the_end_is_a_416(hub: Server) -> None:
    path = "/org/model/resolve/main/model.safetensors"

    assert send(hub, "GET", path, Range="bytes=256000-")[0] == 416
    assert send(hub, "GET", path, Range="lines=1-2")[0] == 200


@pytest.mark.parametrize("revision", ["main", "{commit}"])
def test_model_info_lists_files_with_ids(hub: Server, revision: str) -> None:
    info = get_json(hub, f"/api/models/org/model/revision/{revision.format(commit=commit(hub))}?blobs=True")

    assert info["sha"] == commit(hub)
    weights = next(file for file in info["siblings"] if file["rfilename"] == "model.safetensors")
    assert weights["lfs"] == {
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "size": 256_000,
        "pointerSize": 131,
    }
    assert get_json(hub, "/api/models/gpt2")["siblings"][0] == {"rfilename": "config.json"}


def test_the_tree_is_listed_flat_or_recursively(hub: Server) -> None:
    flat = get_json(hub, f"/api/models/org/model/tree/{commit(hub)}")
    recursive = get_json(hub, "/api/models/org/model/tree/main?recursive=true&expand=false")
    folder = get_json(hub, "/api/models/org/model/tree/main/sub")

    assert [entry["path"] for entry in flat] == ["sub", "config.json", "empty.txt", "model.safetensors"]
    assert [entry["path"] for entry in recursive if entry["type"] == "file"] == sorted(FILES)
    assert [entry["path"] for entry in folder] == ["sub/a b%+é.json"]
    assert send(hub, "GET", "/api/models/org/model/tree/main/additional_chat_templates")[0] == 404


@pytest.mark.parametrize(
    "body",
    [urllib.parse.urlencode({"paths": ["config.json", "missing"]}, doseq=True), '{"paths": ["config.json"]}'],
)
def test_paths_info_reads_a_form_and_json(hub: Server, body: str) -> None:
    _, _, content = send(hub, "POST", "/api/models/org/model/paths-info/main", body)

    assert [entry["path"] for entry in json.loads(content)] == ["config.json"]


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/no/such/resolve/main/config.json", "", 401, "RepoNotFound"),
        ("/no/such/resolve/main/config.json", "Bearer x", 404, "RepoNotFound"),
        ("/org/model/resolve/main/missing.json", "", 404, "EntryNotFound"),
        ("/org/model/resolve/v2/config.json", "", 404, "RevisionNotFound"),
        ("/api/models/org/model/revision/refs%2Fpr%2F1", "", 404, "RevisionNotFound"),
        ("/org/model/resolve/main/..%2F..%2F.hashes.json", "", 404, "EntryNotFound"),
        ("/api/agent-harnesses", "", 404, "NotFound"),
        ("/", "", 404, "NotFound"),
    ],
)
def test_error_responses_have_the_code_that_clients_look_at(
    hub: Server, path: str, token: str, status: int, code: str
) -> None:
    headers = {"Authorization": token} if token else {}
    actual_status, response_headers, _ = send(hub, "GET", path, **headers)

    assert (actual_status, response_headers["X-Error-Code"]) == (status, code)
    assert (response_headers["X-Repo-Commit"] is not None) == (code == "EntryNotFound")


def test_whoami_needs_a_token(hub: Server) -> None:
    assert send(hub, "GET", "/api/whoami-v2")[0] == 401
    assert get_json(hub, "/api/whoami-v2", Authorization="Bearer x")["name"] == "tunematrix"


def test_the_other_actions_that_clients_use(hub: Server) -> None:
    assert get_json(hub, "/api/models/org/model/refs")["branches"][0]["targetCommit"] == commit(hub)
    assert get_json(hub, "/api/models/org/model/commits/main")[0]["id"] == commit(hub)
    assert get_json(hub, "/api/models/org/model/auth-check") == {}
    assert [repo["id"] for repo in get_json(hub, "/api/models")] == ["gpt2", "org/model"]


def test_requests_are_counted_by_caller(hub: Server) -> None:
    get_json(hub, "/@trl-0.12/api/models/gpt2")
    send(hub, "HEAD", "/@trl-0.12/gpt2/resolve/main/config.json")
    get_json(hub, "/api/models/gpt2")

    assert dict(hub.requests) == {"trl-0.12/GET info": 1, "trl-0.12/HEAD resolve": 1, "/GET info": 1}


def test_a_connection_is_reused_for_the_next_request(hub: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", hub.server_address[1], timeout=5)
    for _ in range(2):
        connection.request("POST", "/api/models/gpt2/paths-info/main", "paths=config.json")
        assert connection.getresponse().read()
        first = connection.sock
    assert connection.sock is first
    connection.close()


# Faults


def test_a_status_is_sent_as_often_as_requested(hub: Server) -> None:
    hub.faults.add("503 x2 GET:*/config.json")
    path = "/gpt2/resolve/main/config.json"

    assert [send(hub, "GET", path)[0] for _ in range(3)] == [503, 503, 200]
    assert send(hub, "HEAD", path)[0] == 200


def test_a_429_has_a_retry_after_header(hub: Server) -> None:
    hub.faults.add("429 HEAD:*")

    assert send(hub, "HEAD", "/gpt2/resolve/main/config.json")[1]["Retry-After"] == "1"


def test_a_flipped_byte_leaves_the_size_right(hub: Server) -> None:
    hub.faults.add("flip GET:*.safetensors")

    _, _, body = send(hub, "GET", "/gpt2/resolve/main/model.safetensors")

    assert len(body) == len(WEIGHTS)
    assert sum(actual != expected for actual, expected in zip(body, WEIGHTS, strict=True)) == 1


def test_a_shrunk_file_looks_whole(hub: Server) -> None:
    hub.faults.add("shrink GET:*.safetensors")

    _, headers, body = send(hub, "GET", "/gpt2/resolve/main/model.safetensors")

    assert (body, headers["Content-Length"]) == (WEIGHTS[:-1], str(len(WEIGHTS) - 1))


def test_a_dripping_body_ends_with_its_client(hub: Server) -> None:
    hub.faults.add("drip GET:*.safetensors")
    with socket.create_connection(("127.0.0.1", hub.server_address[1]), timeout=5) as connection:
        connection.sendall(b"GET /gpt2/resolve/main/model.safetensors HTTP/1.1\r\nHost: x\r\n\r\n")
        received = connection.recv(2**16)
        start = time.monotonic()
        while len(received.partition(b"\r\n\r\n")[2]) < 4:
            received += connection.recv(2**16)

    assert received.endswith(WEIGHTS[: len(received.partition(b"\r\n\r\n")[2])])
    assert time.monotonic() - start > 0.1


def test_a_truncated_body_ends_early(hub: Server) -> None:
    hub.faults.add("truncate GET:*.safetensors")

    with pytest.raises(http.client.IncompleteRead):
        send(hub, "GET", "/gpt2/resolve/main/model.safetensors")


def test_a_reset_closes_the_connection(hub: Server) -> None:
    hub.faults.add("reset GET:*")

    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        send(hub, "GET", "/gpt2/resolve/main/config.json")


def test_a_hanging_request_gets_no_response(hub: Server) -> None:
    hub.faults.add("hang GET:*")
    connection = socket.create_connection(("127.0.0.1", hub.server_address[1]), timeout=0.3)
    connection.sendall(b"GET /gpt2/resolve/main/config.json HTTP/1.1\r\nHost: x\r\n\r\n")

    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.close()


def test_a_redirect_and_a_portal(hub: Server) -> None:
    hub.faults.add("redirect HEAD:*")
    hub.faults.add("portal GET:*")
    status, headers, _ = send(hub, "HEAD", "/gpt2/resolve/main/model.safetensors")

    assert status == 302
    assert headers["X-Linked-Size"] == "256000"
    assert send(hub, "HEAD", headers["Location"].removeprefix(hub.url))[0] == 200
    assert send(hub, "GET", "/gpt2/resolve/main/config.json")[2] == b"<html>log in</html>"


@pytest.mark.parametrize(
    "text", ["503", "boom GET:*", "200 GET:*", "503 x GET:*", "4٣٣ GET:*", f"503 x{'9' * 5000} GET:*"]
)
def test_an_invalid_fault_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="write 'KIND \\[xTIMES\\] PATTERN'"):
        Faults().add(text)


# The command line


def test_help_and_docs_describe_every_kind_of_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    usage = capsys.readouterr().out
    table = re.findall(r"^\| `(\w+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)

    assert table == list(KINDS)
    assert all(f"{kind}: {text}" in usage for kind, text in KINDS.items())


def test_a_wrong_folder_port_or_fault_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, expected in {
        ("--root", "/no/such"): "--root /no/such: no such folder",
        ("--root", str(tmp_path), "--port", "99999"): "port must be 0-65535",
        ("--root", str(tmp_path), "--fault", "boom"): "not a fault: 'boom'",
    }.items():
        with pytest.raises(SystemExit) as exit_info:
            main(list(arguments))
        assert exit_info.value.code == 2
        assert expected in capsys.readouterr().err
