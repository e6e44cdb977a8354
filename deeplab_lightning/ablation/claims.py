"""Claims on jobs, by which machines that share nothing but a folder or an fsspec address divide the jobs among them."""

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deeplab_lightning.ablation.protocol import digest
from deeplab_lightning.run_folder import JobKey
from deeplab_lightning.segmentation.addresses import Address

BEAT = 30.0
"""Seconds between two renewals of a claim."""
EXPIRY = 300.0
"""Seconds without a renewal after which a machine is taken to have died, and its claims are void."""
BID, HELD = "bid", "held"
"""The states of a claim: before and after its machine has seen that there is no other claim."""
SETTLING, LOOKS = 0.2, 10
"""Seconds between two looks, and their number, while two machines bid for the same job."""


class Claims:
    """The claims of one machine on jobs, and its view of the claims of others.

    Every machine has a file of its own for each job that it claims. It writes the file before it looks for others, so
    of two machines that claim a job at once, at least one sees the other. A claim expires if its file has not changed
    for `EXPIRY` seconds of the observer's clock, so the clocks of the machines may differ.

    Args:
        folder: The folder of all claims.
        root: The folder of this machine's jobs. Its path and the host identify the machine, which has its claims when
            it is started again.
    """

    def __init__(self, folder: Address, root: Path) -> None:
        self.folder = folder
        self.holder = f"{socket.gethostname()}:{root.resolve()}"
        self.name = digest([self.holder, uuid.getnode()])  # hosts may share a name
        self.held: set[JobKey] = set()
        self.writing = threading.Lock()  # so that no claim is renewed after its release
        self.changed: dict[str, tuple[str, float]] = {}  # the text of a claim, and when it was first seen

    def claim(self, key: JobKey) -> str:
        """Claim a job.

        Returns:
            The machine that has claimed the job before; empty if the job is this machine's now.

        Raises:
            OSError: The folder of the claims cannot be reached.
        """
        self._write(key, BID)
        for _ in range(LOOKS):
            others = self._living(key)
            if not others:
                self.held.add(key)
                self._write(key, HELD)
                return ""
            if any(state == HELD or name < self.name for name, (state, _) in others.items()):
                break
            time.sleep(SETTLING)  # the other one bids too, and gives way
        self._own(key).remove()
        return next(iter(others.values()))[1]

    def release(self, key: JobKey) -> None:
        """Give up a claim. One that cannot be removed expires."""
        with self.writing, suppress(OSError):
            self.held.discard(key)
            self._own(key).remove()

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew the claims of this machine until the end of the block, and release them there."""
        ended = threading.Event()
        thread = threading.Thread(target=self._renew, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            for key in list(self.held):
                self.release(key)

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            for key in list(self.held):
                with self.writing, suppress(OSError):  # it expires if the folder cannot be reached for long
                    if key in self.held:
                        self._write(key, HELD)

    def _own(self, key: JobKey) -> Address:
        return self.folder / str(key) / self.name

    def _write(self, key: JobKey, state: str) -> None:
        self._own(key).write_text(f"{state} {uuid.uuid4().hex} {self.holder}")

    def _living(self, key: JobKey) -> dict[str, tuple[str, str]]:
        """The states and the machines of the other claims on a job that have not expired, by name."""
        found = {}
        for name in (self.folder / str(key)).files():
            claim = self.folder / str(key) / name
            if name == self.name or "/" in name:  # another job's, whose folder is within this one
                continue
            try:
                text = claim.read_text()
            except FileNotFoundError:
                continue
            if claim.url not in self.changed or self.changed[claim.url][0] != text:
                self.changed[claim.url] = text, time.monotonic()
            if time.monotonic() - self.changed[claim.url][1] > EXPIRY:
                claim.remove()
                continue
            state, _, holder = [*text.split(" ", 2), "", ""][:3]  # empty if it is just being written
            found[name] = (BID if state == BID else HELD, holder or "another machine")
        return found
