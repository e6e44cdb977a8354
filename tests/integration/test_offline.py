"""The demo's commands on a smaller scale, where every attempt to connect is refused and counted."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT
from tests.patience import PATIENCE, wait_until

REFUSE = """
import socket

def refuse(where):
    with open({attempts!r}, "a") as file:
        file.write(f"{{where}}\\n")
    raise ConnectionRefusedError(f"{{where}}: connections are refused")

class Socket(socket.socket):
    def connect(self, address):
        return super().connect(address) if self.family == socket.AF_UNIX else refuse(address)

    def connect_ex(self, address):
        return super().connect_ex(address) if self.family == socket.AF_UNIX else refuse(address)

    def sendto(self, data, *rest):
        return super().sendto(data, *rest) if self.family == socket.AF_UNIX else refuse(rest)

socket.socket = Socket
socket.getaddrinfo = lambda *where, **_: refuse(where)
socket.gethostbyname = refuse
"""
DEMO = """
import sys
from deeplab_lightning.__main__ import main
import wandb
run, options = sys.argv[1], sys.argv[2:]
again = ["-c", f"{run}/logs/fit_0/config.yaml", "--ckpt_path", f"{run}/best.ckpt"]
for command in (
    ["fit", *options],
    ["validate", *again, "--model.scales", "[0.75, 1.0]", "--model.flip", "true"],
    ["validate", *again, "-c", "experiments/crf/shapes.yaml"],
    ["report", run],
):
    assert main(command) == 0, command
    wandb.finish()  # like the end of a process
"""


@dataclass
class Outside:
    """A stand-in for the network: a proxy that answers nobody, and a Python that refuses to connect.

    The proxy also hears programs that are not Python, among them W&B's service.
    """

    folder: Path
    heard: list[bytes] = field(default_factory=list)

    def attempts(self) -> list[str]:
        log = self.folder / "attempts"
        return [*map(repr, self.heard), *(log.read_text().splitlines() if log.exists() else [])]

    def environment(self, port: int) -> dict[str, str]:
        (self.folder / "sitecustomize.py").write_text(REFUSE.format(attempts=str(self.folder / "attempts")))
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        mine = {name: f"http://127.0.0.1:{port}" for each in proxies for name in (each, each.lower())}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
        for name in ("NO_PROXY", "no_proxy"):
            kept.pop(name, None)
        home = {"HOME": str(self.folder), "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}"}
        return kept | mine | home | {"PYTHONWARNINGS": "ignore"}

    def listen(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(PATIENCE)
                self.heard.append(connection.recv(200))


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Outside, dict[str, str]]]:
    """The stand-in for the network, and the environment of a process without any account."""
    (tmp_path / "outside").mkdir()
    world = Outside(tmp_path / "outside")
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=world.listen, args=(server,), daemon=True)
        thread.start()
        yield world, world.environment(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.slow
def test_the_demo_connects_to_nothing(
    outside: tuple[Outside, dict[str, str]], experiment: list[str], tmp_path: Path
) -> None:
    """W&B is in its default mode, which is offline without an account."""
    world, environment = outside
    command = [sys.executable, "-c", DEMO, str(tmp_path / "run"), *experiment]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*"))) == 3  # W&B was on
    assert world.attempts() == []


ATTEMPTS = """
import subprocess, sys, urllib.request
for proxies in (None, {}):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler(proxies)).open("http://example.org/")
    except OSError:
        pass
"""


ONLINE = "import wandb, sys; wandb.init(mode='online', dir=sys.argv[1])"


def test_attempts_are_counted(outside: tuple[Outside, dict[str, str]]) -> None:
    """Attempts of Python and of W&B's service, a separate program, are counted; else a count of zero means nothing."""
    world, environment = outside
    subprocess.run([sys.executable, "-c", ATTEMPTS], env=environment, check=True)
    assert len(world.attempts()) == 2
    assert world.heard == []
    account = {"WANDB_API_KEY": 40 * "0", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    with subprocess.Popen([sys.executable, "-c", ONLINE, str(world.folder)], env=environment | account) as process:
        wait_until(lambda: any(request.startswith(b"CONNECT") for request in world.heard))
        process.kill()
