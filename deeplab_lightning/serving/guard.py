"""The guard before the page: it refuses requests of other pages, large bodies, and foreign files.

Everything that a browser loads must come from this server, which the policy in every answer says; so nothing leaves
the machine even if a library's page asks for it.
"""

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LARGEST_JSON = 1 << 16
"""Largest body in bytes of a request that is no upload."""
AROUND_FILE = 1 << 12
"""Number of bytes that an upload needs besides its file."""
UPLOAD = "/gradio_api/upload"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""The content security policy; the page's framework evaluates scripts and writes styles into elements."""
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class _RefusedError(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Guard:
    """An ASGI application around another one.

    Args:
        application: The application.
        hosts: Names under which the server may be asked for, which keeps out pages that point their own name at it;
            empty for any.
        folder: Folder of the uploads, the only one whose files a request may name.
        largest: Largest file in bytes.
    """

    def __init__(self, application: Application, hosts: Collection[str], folder: Path, largest: int) -> None:
        self.application, self.hosts, self.folder, self.largest = application, hosts, folder, largest

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        try:
            self._check_headers(scope)
            if scope["method"] == "POST" and not scope["path"].startswith(UPLOAD):
                body = await _read(receive)
                self._check_body(body)
                receive = _again(body, receive)
        except (_RefusedError, ValueError, RecursionError) as error:
            refused = error if isinstance(error, _RefusedError) else _RefusedError(400, "the request cannot be read")
            answer = json.dumps({"detail": str(refused)}).encode()
            start = {"type": "http.response.start", "status": refused.status}
            kind = [(b"content-type", b"application/json"), (b"connection", b"close")]
            await send_with_headers({**start, "headers": kind})
            await send({"type": "http.response.body", "body": answer})
            return
        await self.application(scope, receive, send_with_headers)

    def _check_headers(self, scope: Message) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if self.hosts and urlsplit(f"//{host}").hostname not in self.hosts:
            raise _RefusedError(421, f"this server is not called {host!r}")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise _RefusedError(403, "requests of other pages are refused")
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return
        length = headers.get("content-length", "")
        if not length.isdecimal():
            raise _RefusedError(411, "the length of the request must be stated")
        is_upload = scope["path"].startswith(UPLOAD)
        if int(length) > (self.largest + AROUND_FILE if is_upload else LARGEST_JSON):
            raise _RefusedError(413, f"the request is too large; files may have {self.largest / 1e6:g} MB")

    def _is_upload(self, path: Any) -> bool:
        return path is None or (
            isinstance(path, str) and "\0" not in path and Path(path).resolve().is_relative_to(self.folder.resolve())
        )

    def _check_body(self, body: bytes) -> None:
        if any(not self._is_upload(path) for path in _values(json.loads(body or b"null"), "path")):
            raise _RefusedError(403, "only files that were uploaded can be segmented")


async def _read(receive: Receive) -> bytes:
    """Read a body, whose length was checked."""
    body: bytes = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read, and then what comes after it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give


def _values(content: Any, name: str) -> list[Any]:
    """The values of a name anywhere in a JSON value."""
    if isinstance(content, list):
        return [found for each in content for found in _values(each, name)]
    if isinstance(content, dict):
        own = [content[name]] if name in content else []
        return own + [found for each in content.values() for found in _values(each, name)]
    return []
