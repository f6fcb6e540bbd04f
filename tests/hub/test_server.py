"""The Hub over real sockets: what every client version needs of it, and the faults it can show."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.hub.conftest import FILES
from tunematrix.hub.__main__ import main
from tunematrix.hub.faults import Faults
from tunematrix.hub.server import Server
from tunematrix.hub.store import index_root

WEIGHTS = FILES["model.safetensors"]
Answer = tuple[int, http.client.HTTPMessage, bytes]


def ask(hub: Server, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", hub.server_address[1], timeout=5)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def get_json(hub: Server, path: str, **headers: str) -> Any:
    status, _, body = ask(hub, "GET", path, **headers)
    assert status == 200
    return json.loads(body)


def commit(hub: Server) -> str:
    return hub.repos["org/model"].commit


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("repo", ["org/model", "gpt2"])
def test_a_file_comes_with_the_headers_no_client_does_without(hub: Server, repo: str, name: str) -> None:
    status, headers, body = ask(hub, "GET", f"/{repo}/resolve/main/{urllib.parse.quote(name)}")

    assert status == 200
    assert body == FILES[name]
    assert headers["X-Repo-Commit"] == hub.repos[repo].commit
    assert headers["Content-Length"] == str(len(body))
    assert headers["ETag"] == f'"{hub.repos[repo].files[name].etag}"'
    assert not [header for header in headers if "xet" in header.lower()]


def test_head_answers_as_get_without_a_body(hub: Server) -> None:
    status, headers, body = ask(hub, "HEAD", f"/org/model/resolve/{commit(hub)}/model.safetensors")

    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(WEIGHTS))


def test_ids_are_gits_and_lfss(hub: Server) -> None:
    files = hub.repos["org/model"].files
    config = FILES["config.json"]

    assert files["config.json"].etag == hashlib.sha1(f"blob {len(config)}\0".encode() + config).hexdigest()
    assert files["model.safetensors"].etag == hashlib.sha256(WEIGHTS).hexdigest()
    assert files["model.safetensors"].oid != files["model.safetensors"].etag


def test_the_commit_depends_on_content_alone(hub: Server, tmp_path: Path) -> None:
    for name, content in FILES.items():
        path = tmp_path / "other/name" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    same = index_root(tmp_path)["other/name"].commit
    (tmp_path / "other/name/config.json").write_text("{}")

    assert same == commit(hub)
    assert len(same) == 40
    assert index_root(tmp_path)["other/name"].commit != same


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=100-199", 100, 199), ("bytes=255990-", 255_990, 255_999), ("bytes=-5", 255_995, 255_999)],
)
def test_a_part_of_a_file_is_a_206(hub: Server, asked: str, first: int, last: int) -> None:
    status, headers, body = ask(hub, "GET", "/org/model/resolve/main/model.safetensors", Range=asked)

    assert status == 206
    assert headers["Content-Range"] == f"bytes {first}-{last}/256000"
    assert body == WEIGHTS[first : last + 1]


def test_a_part_beyond_the_end_is_a_416(hub: Server) -> None:
    path = "/org/model/resolve/main/model.safetensors"

    assert ask(hub, "GET", path, Range="bytes=256000-")[0] == 416
    assert ask(hub, "GET", path, Range="lines=1-2")[0] == 200


@pytest.mark.parametrize("revision", ["main", "{commit}"])
def test_model_info_lists_files_with_ids(hub: Server, revision: str) -> None:
    found = get_json(hub, f"/api/models/org/model/revision/{revision.format(commit=commit(hub))}?blobs=True")

    assert found["sha"] == commit(hub)
    weights = next(row for row in found["siblings"] if row["rfilename"] == "model.safetensors")
    assert weights["lfs"] == {
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "size": 256_000,
        "pointerSize": 131,
    }
    assert get_json(hub, "/api/models/gpt2")["siblings"][0] == {"rfilename": "config.json"}


def test_the_tree_is_shown_flat_or_whole(hub: Server) -> None:
    flat = get_json(hub, f"/api/models/org/model/tree/{commit(hub)}")
    whole = get_json(hub, "/api/models/org/model/tree/main?recursive=true&expand=false")
    below = get_json(hub, "/api/models/org/model/tree/main/sub")

    assert [row["path"] for row in flat] == ["sub", "config.json", "empty.txt", "model.safetensors"]
    assert [row["path"] for row in whole if row["type"] == "file"] == sorted(FILES)
    assert [row["path"] for row in below] == ["sub/a b%+é.json"]
    assert ask(hub, "GET", "/api/models/org/model/tree/main/additional_chat_templates")[0] == 404


@pytest.mark.parametrize(
    "body",
    [urllib.parse.urlencode({"paths": ["config.json", "gone"]}, doseq=True), '{"paths": ["config.json"]}'],
)
def test_paths_info_reads_a_form_and_json(hub: Server, body: str) -> None:
    _, _, answer = ask(hub, "POST", "/api/models/org/model/paths-info/main", body)

    assert [row["path"] for row in json.loads(answer)] == ["config.json"]


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        ("/no/such/resolve/main/config.json", "", 401, "RepoNotFound"),
        ("/no/such/resolve/main/config.json", "Bearer x", 404, "RepoNotFound"),
        ("/org/model/resolve/main/gone.json", "", 404, "EntryNotFound"),
        ("/org/model/resolve/v2/config.json", "", 404, "RevisionNotFound"),
        ("/api/models/org/model/revision/refs%2Fpr%2F1", "", 404, "RevisionNotFound"),
        ("/org/model/resolve/main/..%2F..%2F.hashes.json", "", 404, "EntryNotFound"),
        ("/api/agent-harnesses", "", 404, "NotFound"),
        ("/", "", 404, "NotFound"),
    ],
)
def test_refusals_carry_the_code_that_clients_decide_by(
    hub: Server, path: str, token: str, status: int, code: str
) -> None:
    headers = {"Authorization": token} if token else {}
    found, answer, _ = ask(hub, "GET", path, **headers)

    assert (found, answer["X-Error-Code"]) == (status, code)
    assert (answer["X-Repo-Commit"] is not None) == (code == "EntryNotFound")


def test_whoami_needs_a_token(hub: Server) -> None:
    assert ask(hub, "GET", "/api/whoami-v2")[0] == 401
    assert get_json(hub, "/api/whoami-v2", Authorization="Bearer x")["name"] == "tunematrix"


def test_the_other_pages_clients_ask_for(hub: Server) -> None:
    assert get_json(hub, "/api/models/org/model/refs")["branches"][0]["targetCommit"] == commit(hub)
    assert get_json(hub, "/api/models/org/model/commits/main")[0]["id"] == commit(hub)
    assert get_json(hub, "/api/models/org/model/auth-check") == {}
    assert [row["id"] for row in get_json(hub, "/api/models")] == ["gpt2", "org/model"]


def test_requests_are_counted_by_the_caller_in_the_path(hub: Server) -> None:
    get_json(hub, "/@trl-0.12/api/models/gpt2")
    ask(hub, "HEAD", "/@trl-0.12/gpt2/resolve/main/config.json")
    get_json(hub, "/api/models/gpt2")

    assert dict(hub.requests) == {"trl-0.12/GET info": 1, "trl-0.12/HEAD resolve": 1, "/GET info": 1}


def test_a_connection_is_kept_for_the_next_request(hub: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", hub.server_address[1], timeout=5)
    for _ in range(2):
        connection.request("POST", "/api/models/gpt2/paths-info/main", "paths=config.json")
        assert connection.getresponse().read()
        first = connection.sock
    assert connection.sock is first
    connection.close()


def test_hidden_files_and_links_are_not_served(tmp_path: Path) -> None:
    repo = tmp_path / "a/b"
    (repo / ".git").mkdir(parents=True)
    (repo / ".git/config").write_text("x")
    (repo / "config.json").write_text("{}")
    (repo / "link.json").symlink_to("/etc/hostname")

    assert list(index_root(tmp_path)["a/b"].files) == ["config.json"]


def test_ids_are_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/config.json").write_text("{}")
    first = index_root(tmp_path)["a"].commit
    monkeypatch.setattr("tunematrix.hub.store.hash_file", None)

    assert index_root(tmp_path)["a"].commit == first
    (tmp_path / "a/config.json").write_text("{ }")
    with pytest.raises(TypeError):
        index_root(tmp_path)


# Faults


def test_a_status_is_shown_as_often_as_asked(hub: Server) -> None:
    hub.faults.add("503 x2 GET:*/config.json")
    path = "/gpt2/resolve/main/config.json"

    assert [ask(hub, "GET", path)[0] for _ in range(3)] == [503, 503, 200]
    assert ask(hub, "HEAD", path)[0] == 200


def test_a_429_asks_for_a_wait(hub: Server) -> None:
    hub.faults.add("429 HEAD:*")

    assert ask(hub, "HEAD", "/gpt2/resolve/main/config.json")[1]["Retry-After"] == "1"


def test_a_flipped_byte_has_the_right_size(hub: Server) -> None:
    hub.faults.add("flip GET:*.safetensors")

    _, _, body = ask(hub, "GET", "/gpt2/resolve/main/model.safetensors")

    assert len(body) == len(WEIGHTS)
    assert sum(one != other for one, other in zip(body, WEIGHTS, strict=True)) == 1


def test_a_truncated_body_ends_early(hub: Server) -> None:
    hub.faults.add("truncate GET:*.safetensors")

    with pytest.raises(http.client.IncompleteRead):
        ask(hub, "GET", "/gpt2/resolve/main/model.safetensors")


def test_a_reset_is_a_reset(hub: Server) -> None:
    hub.faults.add("reset GET:*")

    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        ask(hub, "GET", "/gpt2/resolve/main/config.json")


def test_a_hang_lasts_until_the_server_ends(hub: Server) -> None:
    hub.faults.add("hang GET:*")
    connection = socket.create_connection(("127.0.0.1", hub.server_address[1]), timeout=0.3)
    connection.sendall(b"GET /gpt2/resolve/main/config.json HTTP/1.1\r\nHost: x\r\n\r\n")

    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.close()


def test_a_redirect_and_a_portal(hub: Server) -> None:
    hub.faults.add("redirect HEAD:*")
    hub.faults.add("portal GET:*")
    status, headers, _ = ask(hub, "HEAD", "/gpt2/resolve/main/model.safetensors")

    assert status == 302
    assert headers["X-Linked-Size"] == "256000"
    assert ask(hub, "HEAD", headers["Location"].removeprefix(hub.url))[0] == 200
    assert ask(hub, "GET", "/gpt2/resolve/main/config.json")[2] == b"<html>log in</html>"


@pytest.mark.parametrize("text", ["503", "boom GET:*", "200 GET:*", "503 x GET:*"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write 'KIND \\[xTIMES\\] PATTERN'"):
        Faults().add(text)


# By hand


def test_by_hand_a_missing_folder_or_a_wrong_port_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, expected in {
        ("--root", "/no/such"): "--root /no/such: no such folder",
        ("--root", str(tmp_path), "--port", "99999"): "port must be 0-65535",
        ("--root", str(tmp_path), "--fault", "boom"): "not a fault: 'boom'",
    }.items():
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        assert ended.value.code == 2
        assert expected in capsys.readouterr().err
