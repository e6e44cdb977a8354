"""A stand-in for the processes of `deeplab` that the runner starts."""

import json
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from deeplab_lightning.ablation import runner
from tests.test_identity import IDENTITY


class Processes:
    """Records the processes that the runner starts. Each process ends when `wait` returns, by default at once.

    Args:
        monkeypatch: The fixture by which this object replaces `subprocess` in the runner.
        wait: A function that takes the options of a process and returns its exit status.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wait: Callable[[list[str]], int] = lambda options: 0) -> None:
        self.started: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self.terminated = threading.Event()
        self._wait = wait
        monkeypatch.setattr(runner, "subprocess", SimpleNamespace(Popen=self._open, DEVNULL=subprocess.DEVNULL))

    def _open(self, command: list[str], env: Mapping[str, str], **keywords: object) -> SimpleNamespace:
        options = command[3:]
        self.started.append(options)
        self.environments.append(env)
        return SimpleNamespace(wait=lambda: self.run(options), terminate=self.terminated.set)

    def run(self, options: list[str]) -> int:
        """Write the files that a process with these options would write, and return its exit status."""
        status = self._wait(options)
        if status == 0:
            folder = Path(options[2]).parent
            if "--trainer.default_root_dir" in options:
                folder = Path(options[options.index("--trainer.default_root_dir") + 1])
            log = folder / "logs" / f"{options[0]}_{len([*folder.glob('logs/*')])}"
            log.mkdir(parents=True)
            records = [{"split": "val", "metric": "val/miou", "value": 0.2, "identity": IDENTITY.as_dict()}]
            (log / "evaluation.json").write_text(json.dumps(records))
            if options[0] == "predict":
                (log / "comp6_test_cls.tar").touch()
            (log / "run.json").write_text(json.dumps({"seconds": 1.5, "environment": {"num_devices": 1}}))
        return status

    def rows(self) -> list[str]:
        """The jobs that were started, by command and rows."""
        return [f"{options[0]} {options[options.index('--wandb.name') + 1]}" for options in self.started]
