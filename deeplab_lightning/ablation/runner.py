"""The runner of jobs. It starts each job in a process of its own and records the outcome in the job's folder."""

import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import yaml

from deeplab_lightning.ablation.claims import EXPIRY
from deeplab_lightning.ablation.job import Job, rows_name
from deeplab_lightning.ablation.outcomes import Outcome, State
from deeplab_lightning.ablation.plan import Training
from deeplab_lightning.ablation.resources import WHOLE_MACHINE, Resources
from deeplab_lightning.ablation.results import describe_failure, read_results
from deeplab_lightning.ablation.shared import SharedResults
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.folder_lock import hold
from deeplab_lightning.run_folder import JobFolder, JobKey
from deeplab_lightning.settings.compose import override

RUNS = Path("runs/ablations")
TAIL_LINES = 12
PATIENCE, PAUSE = 15.0, 0.1  # seconds to retry a lock, which a dying process may still hold, and between attempts
POLL = 5.0  # seconds between two looks at a job that another machine has claimed
AGENT_VARIABLES = ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")  # set by a W&B agent for one run; here each job is a run
ENDINGS = {
    State.FAILED: "failed",
    State.LACKING: "was not run",
    State.OLDER: "is of an older protocol",
    State.ELSEWHERE: "is in progress elsewhere",
}
"""The predicates of the sentence that says why a job is not done, by state."""

OnProgress = Callable[[Job, State, str], None]
"""A callback for the start and the end of each job. It takes the job, its state and the reason if it is not done."""


@dataclass(frozen=True)
class Running:
    """A job in progress: its process, the lock on its folder, and its resources."""

    job: Job
    process: "subprocess.Popen[bytes]"
    lock: IO[str]
    resources: Resources


def run_jobs(
    jobs: Sequence[Job],
    root: Path,
    on_progress: OnProgress,
    resources: Sequence[Resources] = (WHOLE_MACHINE,),
    older: Mapping[JobKey, str] = MappingProxyType({}),
    shared: SharedResults | None = None,
) -> int:
    """Run the jobs that are not yet done.

    The failure of a job stops only the jobs that need it. A job that another process is running is retried for a while,
    and the other jobs go on in the meantime. A job that another machine has claimed is waited for until its result is
    there, or its machine gives it up or dies; then it is run here.

    Args:
        jobs: The jobs. Each one follows the jobs that it needs.
        root: The folder that contains the folders of all jobs.
        on_progress: A callback for the start and the end of each job.
        resources: The parts of the machine. Each part runs one job at a time.
        older: A sentence for each job that was done under an older protocol, by key. These jobs are not run.
        shared: The results that this machine shares with others; None where it shares none.

    Returns:
        The number of jobs that are not done in the end.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM arrived. All processes have saved and ended by then.
        OSError: The shared results cannot be reached. All processes have ended by then.
        ValueError: A shared result is damaged. All processes have ended by then.
    """
    return _Runner(jobs, root, on_progress, resources=list(resources), older=older, shared=shared).run()


class _Runner:
    """The state of one call of `run_jobs`, whose arguments it takes."""

    def __init__(
        self,
        jobs: Sequence[Job],
        root: Path,
        on_progress: OnProgress,
        resources: list[Resources],
        older: Mapping[JobKey, str],
        shared: SharedResults | None,
    ) -> None:
        self.jobs, self.root, self.on_progress, self.free, self.older = jobs, root, on_progress, resources, older
        self.shared = shared
        self.states: dict[JobKey, State] = {}  # of the jobs that have ended
        self.held_since: dict[JobKey, float] = {}  # first failed attempt to lock a folder that another process holds
        self.reached = -math.inf  # when the shared results were reached last
        self.next_look: dict[JobKey, float] = {}  # at jobs that other machines have claimed
        self.running: dict[Future[int], Running] = {}
        self.locks, self.pool = ExitStack(), ThreadPoolExecutor(len(resources))

    def run(self) -> int:
        sharing = nullcontext() if self.shared is None else self.shared.sharing()
        with _forwarding_sigterm(self.running), sharing, self.locks, self.pool:
            while len(self.states) < len(self.jobs):
                for job in self._ready():
                    self._consider(job)
                # The release of a lock or a claim of another process is not an event to wait for, so it is polled.
                polls = bool(self.held_since or self.next_look)
                for future in wait(self.running, PAUSE if polls else None, FIRST_COMPLETED).done:
                    self._finish(future)
                if polls and not self.running:
                    time.sleep(PAUSE)
        return sum(state is not State.DONE for state in self.states.values())

    def _ready(self) -> Iterator[Job]:
        """The jobs that have neither started nor ended, and whose needed training has ended."""
        started = {each.job.key for each in self.running.values()}
        for job in self.jobs:
            is_open = job.key not in self.states and job.key not in started
            is_open = is_open and self.next_look.get(job.key, 0.0) <= time.monotonic()
            if is_open and (job.needs is None or job.needs.key in self.states):
                yield job

    def _consider(self, job: Job) -> None:
        """Start a job if resources are free; end it at once if it cannot run or if its older outcome is kept."""
        needed = State.DONE if job.needs is None else self.states[job.needs.key]
        if job.needs is not None and needed is not State.DONE:
            reason = f"it needs the training of {rows_name(job.needs.rows)}, which {ENDINGS[needed]}"
            self._end(job, State.LACKING, reason)
        elif job.key in self.older:
            self._end(job, State.OLDER, self.older[job.key])
        elif self.free:
            self._start(job)

    def _start(self, job: Job) -> None:
        """Start a job unless it is already done, or another process or another machine is running it."""
        folder = job.folder(self.root)
        lock = _lock(folder)
        if lock is None:
            if self.held_since.setdefault(job.key, time.monotonic()) + PATIENCE <= time.monotonic():
                self._end(job, State.ELSEWHERE, f"{folder.path}: in progress elsewhere")
        elif obstacle := self._obstacle(job):
            lock.close()
            self.next_look[job.key] = time.monotonic() + POLL
            self.on_progress(job, State.WAITING, obstacle)
        elif Outcome.read(folder).is_done:  # read under the lock, whose previous holder may have finished the job
            self._share(job)
            lock.close()
            self._end(job, State.DONE)
        else:
            self.on_progress(job, State.STARTED, "")
            self.held_since.pop(job.key, None)
            self.next_look.pop(job.key, None)
            started = _start_process(job, self.root, self.free.pop(0), self.locks.enter_context(lock))
            self.running[self.pool.submit(started.process.wait)] = started

    def _obstacle(self, job: Job) -> str:
        """The machine that has claimed a job, or the error of the shared results; empty if there is no obstacle.

        The job is done if another machine has finished it.
        """
        if self.shared is None or not job.is_shared or Outcome.read(job.folder(self.root)).is_done:
            return ""
        try:
            holder = self.shared.take(job.key, None if job.needs is None else job.needs.key)
        except OSError as error:
            if not self.running and time.monotonic() - self.reached > EXPIRY:
                raise
            return str(error)
        self.reached = time.monotonic()
        if Outcome.read(job.folder(self.root)).is_done:
            _write_settings(job, self.root)  # with the paths of this machine
        return holder

    def _share(self, job: Job) -> None:
        if self.shared is not None and job.is_shared:
            self.shared.finish(job.key)

    def _finish(self, future: Future[int]) -> None:
        """Record the outcome of a process that has ended, and release its folder and its resources."""
        ended = self.running.pop(future)
        self.free.append(ended.resources)
        folder, log = ended.job.folder(self.root), log_tail(ended.job.folder(self.root))
        outcome = _outcome_of(ended.job, folder, future.result(), log)
        rows = {"rows": ended.job.training.rows, "seed": ended.job.training.seed}
        outcome.write(folder, ended.job.command, rows)
        self._share(ended.job)
        ended.lock.close()  # after the outcome is written, so that no other process starts the job again
        self._end(ended.job, outcome.state, "" if outcome.is_done else f"{outcome.reason}\n{log}")

    def _end(self, job: Job, state: State, reason: str = "") -> None:
        self.held_since.pop(job.key, None)
        self.next_look.pop(job.key, None)
        self.states[job.key] = state
        self.on_progress(job, state, reason)


@contextmanager
def _forwarding_sigterm(running: Mapping[Future[int], Running]) -> Iterator[None]:
    """Make SIGTERM act like Ctrl-C: a terminal sends Ctrl-C to all processes, a scheduler sends SIGTERM to this one."""

    def stop(*_: object) -> None:
        for each in running.values():
            each.process.terminate()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _start_process(job: Job, root: Path, resources: Resources, lock: IO[str]) -> Running:
    """Start the process of a job. The caller holds the lock on the job's folder."""
    folder = job.folder(root)
    for path in (folder.done, folder.failed):
        path.unlink(missing_ok=True)
    _write_settings(job, root)
    command = [sys.executable, "-m", "deeplab_lightning", *job.options(root)]
    environment = {name: value for name, value in os.environ.items() if name not in AGENT_VARIABLES}
    with folder.log.open("a") as log:
        log.write(f"$ {shlex.join(['deeplab', *command[3:]])}\n")
        log.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment | resources.environment(),
            pass_fds=[lock.fileno()],  # so that the folder stays locked if the process outlives this one
        )
    return Running(job, process, lock, resources)


def _write_settings(job: Job, root: Path) -> None:
    """Write the settings of a job into its folder."""
    folder = job.folder(root)
    if job.evaluation is None:
        write_atomically(folder.config, yaml.safe_dump(config_of(job.training, root), sort_keys=False))
    else:
        write_atomically(folder.evaluate, yaml.safe_dump(job.evaluation.settings, sort_keys=False))


def _outcome_of(job: Job, folder: JobFolder, status: int, log: str) -> Outcome:
    """The outcome of a job whose process has ended with an exit status."""
    if status:
        return Outcome(State.FAILED, describe_failure(status, log))
    try:
        return replace(read_results(folder, job.command), asked=job.asked)
    except ValueError as error:
        return Outcome(State.FAILED, f"ended with status 0, but {error}")


def config_of(training: Training, root: Path) -> dict[str, Any]:
    """The settings of a training, completed with its seed, its run folder and its initial checkpoint."""
    config = deepcopy(training.config)
    override(config, "trainer.default_root_dir", str(root / training.name))
    if training.source is not None:
        override(config, "model.init_args.start_from", str(JobFolder.of(root, training.source.key).last))
    return {"seed_everything": training.seed, **config}


def _lock(folder: JobFolder) -> IO[str] | None:
    """Lock a folder; None if another process holds the lock. The job's process inherits the lock from this one."""
    try:
        return hold(folder.lock)
    except BlockingIOError:
        return None


def log_tail(folder: JobFolder) -> str:
    """The last lines that the processes of a job printed."""
    lines = folder.log.read_text(errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:])
