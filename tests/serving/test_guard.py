"""The guard around an application that answers every request with the body that it received."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.serving.guard import LARGEST_JSON, UPLOAD, Guard, Message, Receive, Send

HOME = {"host": "127.0.0.1:7860"}


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": message["body"]})


def asked(
    folder: Path,
    body: bytes = b"",
    method: str = "POST",
    path: str = "/gradio_api/queue/join",
    headers: Mapping[str, str | None] = HOME,
) -> tuple[int, bytes, dict[bytes, bytes]]:
    """The status, the body and the headers of the answer."""
    sent: list[Message] = []
    parts = [body[: len(body) // 2], body[len(body) // 2 :]]
    messages = [{"type": "http.request", "body": part, "more_body": part is parts[0]} for part in parts]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    given = {"content-length": str(len(body)), **HOME, **headers}
    raw = [(name.encode(), value.encode()) for name, value in given.items() if value is not None]
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": raw}
    asyncio.run(Guard(echo, {"127.0.0.1", "localhost"}, folder, 1000)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], dict(sent[0]["headers"])


def test_a_request_of_the_page_passes_whole_with_the_policy(tmp_path: Path) -> None:
    body = json.dumps({"data": [{"path": str(tmp_path / "a" / "b.png")}, {"path": None}, 3]}).encode()
    status, received, headers = asked(tmp_path, body, headers={"origin": "http://127.0.0.1:7860"})
    assert (status, received, headers[b"x-own"]) == (200, body, b"1")
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert asked(tmp_path, b"", "GET", headers={"content-length": None})[0] == 200


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{folder}/../best.ckpt", "http://example.org/a.png", "a.png", "{folder}/\0", 3, ["/etc"]]
)
def test_files_that_are_no_uploads_are_refused(path: Any, tmp_path: Path) -> None:
    path = path.format(folder=tmp_path) if isinstance(path, str) else path
    for value in ({"path": path}, {"data": [[{"value": {"path": path}}]]}):
        assert asked(tmp_path, json.dumps(value).encode())[0] == 403


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 30_000, b"[" * 5000 + b"]" * 5000, b'{"path": "/\\ud800"}'])
def test_a_body_that_cannot_be_read_is_refused(body: bytes, tmp_path: Path) -> None:
    assert asked(tmp_path, body)[0] == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:7860"}, 421),
        ({"host": None}, 421),
        ({"host": "[::1"}, 400),
        ({"host": "localhost:7860"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:80"}, 403),
        ({"origin": "null"}, 403),
        ({"content-length": None}, 411),
        ({"content-length": "-1"}, 411),
        ({"content-length": str(LARGEST_JSON + 1)}, 413),
    ],
)
def test_headers_are_checked(headers: dict[str, str | None], status: int, tmp_path: Path) -> None:
    answered, _, sent = asked(tmp_path, b"{}", headers=headers)
    assert answered == status
    assert sent[b"x-content-type-options"] == b"nosniff"


def test_an_upload_may_have_the_largest_file_and_is_not_read_as_json(tmp_path: Path) -> None:
    assert asked(tmp_path, b"\xff" * 1000, path=UPLOAD)[0] == 200
    assert asked(tmp_path, b"", path=UPLOAD, headers={"content-length": "70000"})[0] == 413
