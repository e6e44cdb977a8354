"""Run what plans need, each piece in a process of its own, and remember on disk what is done."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import yaml

from deeplab_lightning.ablation.plan import Evaluation, Plan, Training
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.ablation.records import describe_failure, read_done, read_results, write
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.folder_lock import hold
from deeplab_lightning.settings.compose import override

RUNS = Path("runs/ablations")
DONE, FAILED, LOG = "done.json", "failed.json", "log.txt"
TAIL_LINES = 12
PATIENCE, PAUSE = 15.0, 0.1  # seconds that a process which was just killed may take to go, and between two looks
AGENTS_OWN = ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")  # a W&B agent's names for one run; here every piece is a run

Share = Mapping[str, str]
"""Environment variables that give a process its part of the machine."""


@dataclass(frozen=True)
class Work:
    """One process: a training, or one of its evaluations.

    Args:
        training: what is trained or scored.
        evaluation: None for the training itself.
        wandb: further settings of its run in Weights & Biases.
    """

    training: Training
    evaluation: Evaluation | None
    wandb: Mapping[str, str]

    @property
    def key(self) -> str:
        """By which it is found again: its folder within that of all runs."""
        name = self.training.name
        return name if self.evaluation is None else f"{name}/evaluations/{self.evaluation.digest}"

    @property
    def command(self) -> str:
        """Of `deeplab`."""
        return "fit" if self.evaluation is None else self.evaluation.command

    @property
    def asked(self) -> list[str]:
        """The hashes of what tables ask for, by which it is found under another protocol."""
        return (self.training if self.evaluation is None else self.evaluation).asked

    @property
    def needs(self) -> Training | None:
        """The training that must be done before."""
        return self.training.source if self.evaluation is None else self.training

    @property
    def rows_name(self) -> str:
        """The first row that it serves, and how many more."""
        return rows_name(self.training.rows if self.evaluation is None else self.evaluation.rows)

    def folder(self, root: Path) -> Path:
        """Where it leaves what it makes."""
        return root / self.key

    def options(self, root: Path) -> list[str]:
        """The command line after `deeplab`."""
        own, folder = root / self.training.name, self.folder(root)
        settings = {"group": self.training.group, "name": self.rows_name, "tags": json.dumps(self.training.tags)}
        settings |= {"work": self.key, "asked": json.dumps(self.asked), "protocol": str(PROTOCOL)} | dict(self.wandb)
        if self.evaluation is not None and self.evaluation.paper:
            settings["paper"] = json.dumps(self.evaluation.paper)
        wandb = [option for key, value in settings.items() for option in (f"--wandb.{key}", value)]
        config = ["-c", str(own / "config.yaml")]
        if self.evaluation is None:
            return [self.command, *config, "--ckpt_path", "last", *wandb]
        config += ["-c", str(folder / "evaluate.yaml"), "--ckpt_path", str(own / "last.ckpt")]
        return [self.command, *config, "--trainer.default_root_dir", str(folder), *wandb]


def rows_name(rows: Sequence[str]) -> str:
    """The first of some rows, and how many more."""
    return rows[0] if len(rows) == 1 else f"{rows[0]} and {len(rows) - 1} more"


Tell = Callable[[Work, str], None]
"""Is told of each piece of work that it starts ("starts") and how it ended ("done", "was done", or why it failed)."""


@dataclass(frozen=True)
class Running:
    """A piece of work in progress: its process, the lock on its folder, and its share of the machine."""

    work: Work
    process: "subprocess.Popen[bytes]"
    lock: IO[str]
    share: Share


def work_of(*plans: Plan) -> list[Work]:
    """All pieces of work of some plans, each once, each after those that it needs."""
    works: dict[str, Work] = {}
    for plan in plans:
        for training in plan.trainings:
            for evaluation in (None, *training.evaluations.values()):
                work = Work(training, evaluation, plan.wandb)
                works.setdefault(work.key, work)
    return list(works.values())


def run_works(
    works: Sequence[Work],
    root: Path,
    tell: Tell,
    shares: Sequence[Share] = ({},),
    older: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Do what is not yet done, one piece for each share of the machine at a time, and count what is not done then.

    What is in `older`, by its key, was done under an older protocol, and is left as it is; why is what is told.

    What fails, or is in progress elsewhere, stops nothing but what needs it. On Ctrl-C, which the processes get too,
    it waits until all have saved; on SIGTERM likewise.
    """
    ended: dict[str, str] = {}  # how: empty when it is done
    held: dict[str, float] = {}  # since when: folders that another process is at
    running: dict[Future[int], Running] = {}
    free = list(shares)

    def end(work: Work, what: str, how: str = "") -> None:
        held.pop(work.key, None)
        ended[work.key] = how
        tell(work, what)

    with _terminable(running), ExitStack() as locks, ThreadPoolExecutor(len(free)) as pool:
        while len(ended) < len(works):
            for work in _ready(works, ended, running.values()):
                if work.needs is not None and (how := ended[work.needs.name]):
                    end(work, f"it needs the training of {rows_name(work.needs.rows)}, which {how}", "was not run")
                elif work.key in older:
                    end(work, older[work.key], "is of an older protocol")
                elif free:
                    folder = work.folder(root)
                    lock = _lock(folder)
                    if lock is None:
                        if held.setdefault(work.key, time.monotonic()) + PATIENCE <= time.monotonic():
                            end(work, f"{folder}: in progress elsewhere", "is in progress elsewhere")
                    elif is_done(folder):
                        lock.close()
                        end(work, "was done")
                    else:
                        tell(work, "starts")
                        held.pop(work.key, None)
                        started = _start(work, root, free.pop(0), locks.enter_context(lock))
                        running[pool.submit(started.process.wait)] = started
            for future in wait(running, PAUSE if held else None, FIRST_COMPLETED).done:
                finished = running.pop(future)
                free.append(finished.share)
                failure = _finish(finished, root, future.result())
                end(finished.work, failure or "done", failure and "failed")
            if held and not running:
                time.sleep(PAUSE)
    return sum(map(bool, ended.values()))


@contextmanager
def _terminable(running: Mapping[Future[int], Running]) -> Iterator[None]:
    """Let SIGTERM, which a job's scheduler sends to this process alone, do what Ctrl-C does."""

    def stop(*_: object) -> None:
        for each in running.values():
            each.process.terminate()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ready(works: Sequence[Work], ended: Mapping[str, str], running: Iterable[Running]) -> Iterator[Work]:
    """What has neither ended nor started, and waits for nothing that has not ended."""
    started = {each.work.key for each in running}
    for work in works:
        if work.key not in ended and work.key not in started and (work.needs is None or work.needs.name in ended):
            yield work


def _start(work: Work, root: Path, share: Share, lock: IO[str]) -> Running:
    """Start one piece of work, whose folder is held."""
    folder = work.folder(root)
    for name in (DONE, FAILED):
        (folder / name).unlink(missing_ok=True)
    if work.evaluation is None:
        write_atomically(folder / "config.yaml", yaml.safe_dump(config_of(work.training, root), sort_keys=False))
    else:
        write_atomically(folder / "evaluate.yaml", yaml.safe_dump(work.evaluation.settings, sort_keys=False))
    command = [sys.executable, "-m", "deeplab_lightning", *work.options(root)]
    environment = {name: value for name, value in os.environ.items() if name not in AGENTS_OWN} | dict(share)
    with (folder / LOG).open("a") as log:
        log.write(f"$ {shlex.join(['deeplab', *command[3:]])}\n")
        log.flush()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=[lock.fileno()]
        )
    return Running(work, process, lock, share)


def _finish(running: Running, root: Path, status: int) -> str:
    """Write down how a piece of work ended, and let go of its folder; why it failed and the end of its log, or ""."""
    work, folder = running.work, running.work.folder(root)
    log = log_tail(folder)
    failure = describe_failure(status, log) if status else ""
    if not failure:
        try:
            done = read_results(folder, work.command) | {"rows": work.training.rows, "seed": work.training.seed}
            write(folder / DONE, done | {"protocol": PROTOCOL, "asked": work.asked})
        except ValueError as error:
            failure = f"ended with status 0, but {error}"
    if failure:
        write(folder / FAILED, {"failure": failure})
    running.lock.close()
    return failure and f"{failure}\n{log}"


def is_done(folder: Path) -> bool:
    """Whether a piece of work is done; one whose record cannot be read is not, and is done again."""
    try:
        read_done(folder / DONE)
    except ValueError:
        return False
    return True


def config_of(training: Training, root: Path) -> dict[str, Any]:
    """The settings of a training with the paths of its place."""
    config = deepcopy(training.config)
    override(config, "trainer.default_root_dir", str(root / training.name))
    if training.source is not None:
        override(config, "model.init_args.start_from", str(root / training.source.name / "last.ckpt"))
    return {"seed_everything": training.seed, **config}


def _lock(folder: Path) -> IO[str] | None:
    """Hold a folder for this process and the one that it starts, which may outlive it; None while another holds it."""
    try:
        return hold(folder / "lock")
    except BlockingIOError:
        return None


def log_tail(folder: Path) -> str:
    """The end of a log."""
    lines = (folder / LOG).read_text(errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
