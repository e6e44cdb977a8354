"""Run what a plan needs, each piece in a process of its own, and remember on disk what is done."""

import fcntl
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from deeplab_lightning.ablation.plan import Evaluation, Plan, Training, merge, nest
from deeplab_lightning.identity import Record

RUNS = Path("runs/ablations")
DONE, FAILED, LOG = "done.json", "failed.json", "log.txt"
TAIL_LINES = 12
PATIENCE = 15.0  # seconds that a process which was just killed may take to go

Tell = Callable[["Work", str], None]
"""Is told of each piece of work that it starts ("starts") and how it ended ("done", "was done", or why it failed)."""


class WorkError(RuntimeError):
    """A piece of work that failed; the message is the end of its log."""


@dataclass(frozen=True)
class Work:
    """One process: a training, or one of its evaluations.

    Args:
        training: what is trained or scored.
        evaluation: None for the training itself.
    """

    training: Training
    evaluation: Evaluation | None

    def folder(self, root: Path) -> Path:
        """Where it leaves what it makes."""
        own = root / self.training.name
        return own if self.evaluation is None else own / "evaluations" / self.evaluation.digest

    def options(self, root: Path) -> list[str]:
        """The command line after `deeplab`."""
        own, folder = root / self.training.name, self.folder(root)
        wandb = ["--wandb.group", self.training.group, "--wandb.name", self.training.rows_name]
        config = ["-c", str(own / "config.yaml")]
        if self.evaluation is None:
            return ["fit", *config, "--ckpt_path", "last", *wandb]
        config += ["-c", str(folder / "evaluate.yaml"), "--ckpt_path", str(own / "last.ckpt")]
        return [self.evaluation.command, *config, "--trainer.default_root_dir", str(folder), *wandb]


def work_of(plan: Plan) -> list[Work]:
    """All pieces of work of a plan, each after those that it needs."""
    works = []
    for training in plan.trainings:
        works.append(Work(training, None))
        works += [Work(training, evaluation) for evaluation in training.evaluations.values()]
    return works


def run_plan(plan: Plan, root: Path, tell: Tell) -> int:
    """Do what is not yet done, and count what failed; what fails stops nothing but what needs it."""
    failed: dict[str, str] = {}
    for work in work_of(plan):
        needs = work.training.source if work.evaluation is None else work.training
        key = work.training.name if work.evaluation is None else f"{work.training.name}/{work.evaluation.digest}"
        try:
            if needs is not None and needs.name in failed:
                raise WorkError(f"it needs the training of {needs.rows_name}, which failed")
            if (work.folder(root) / DONE).is_file():
                tell(work, "was done")
            else:
                tell(work, "starts")
                _do(work, root)
                tell(work, "done")
        except WorkError as error:
            failed[key] = str(error)
            tell(work, str(error))
    return len(failed)


def _do(work: Work, root: Path) -> None:
    """Do one piece of work.

    Raises:
        WorkError: it failed, or another process is at it.
    """
    folder = work.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILED).unlink(missing_ok=True)
    if work.evaluation is None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config_of(work.training, root), sort_keys=False))
    else:
        (folder / "evaluate.yaml").write_text(yaml.safe_dump(work.evaluation.settings, sort_keys=False))
    command = [sys.executable, "-m", "deeplab_lightning", *work.options(root)]
    start = time.monotonic()
    with _lock(folder) as lock, (folder / LOG).open("a") as log:
        log.write(f"$ {shlex.join(['deeplab', *command[3:]])}\n")
        log.flush()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[lock.fileno()])
        status = _wait(process)
    if status:
        tail = log_tail(folder)
        _write(folder / FAILED, {"status": status, "tail": tail})
        raise WorkError(tail)
    done: dict[str, Any] = {"rows": work.training.rows, "seed": work.training.seed}
    if work.evaluation is not None:
        done["records"] = _records(folder)
    _write(folder / DONE, done | {"seconds": round(time.monotonic() - start, 1)})


def config_of(training: Training, root: Path) -> dict[str, Any]:
    """The settings of a training with the paths of its place."""
    config = deepcopy(training.config)
    paths: dict[str, Any] = {"trainer.default_root_dir": str(root / training.name)}
    if training.source is not None:
        paths["model.init_args.start_from"] = str(root / training.source.name / "last.ckpt")
    merge(config, nest(paths))
    return {"seed_everything": training.seed, **config}


def _wait(process: "subprocess.Popen[bytes]") -> int:
    """The exit status; on Ctrl-C, which the process gets too, wait until it has saved what it has."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


@contextmanager
def _lock(folder: Path) -> Iterator[IO[str]]:
    """Hold a folder for this process and the one that it starts, which may outlive it."""
    with (folder / "lock").open("w") as file:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise WorkError(f"{folder}: another process is at it") from error
                time.sleep(0.1)
        yield file


def _records(folder: Path) -> list[Record]:
    """The scores of the newest evaluation in a folder."""
    logs = sorted((folder / "logs").glob("*/evaluation.json"), key=lambda path: path.stat().st_mtime_ns)
    records: list[Record] = json.loads(logs[-1].read_text())
    return records


def log_tail(folder: Path) -> str:
    """The end of a log."""
    lines = (folder / LOG).read_text(errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1))
    draft.rename(path)
