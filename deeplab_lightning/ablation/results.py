"""The results of a job whose process has ended: from its logs, or from the way in which it ended."""

import signal

from deeplab_lightning.ablation.outcomes import Outcome
from deeplab_lightning.datasets.submission import TARBALL
from deeplab_lightning.run_folder import JobFolder
from deeplab_lightning.run_reader import read_record, read_scores, read_seconds

OWN_WORDS = "deeplab: error:"  # a log that ends with a line of this says why


def describe_failure(status: int, log: str) -> str:
    """The way in which a process ended, and its own last words if they say why.

    Args:
        status: The exit status: -n after signal n or, where a shell or our own command says so, 128 + n.
        log: The end of what the process printed.
    """
    number = -status if status < 0 else status - 128
    names = {each.value: each.name for each in signal.Signals}
    ending = f"killed by {names[number]}" if number in names else f"ended with status {status}"
    last = log.rpartition("\n")[2]
    return f"{ending}: {last}" if last.startswith(OWN_WORDS) else ending


def read_results(folder: JobFolder, command: str) -> Outcome:
    """The outcome of a job whose process ended well, from its logs.

    A training's seconds are those of all its attempts; an attempt that was killed outright (SIGKILL) left none.

    Raises:
        ValueError: The newest log has no record of the run, or one that cannot be read, or no tarball for the server.
    """
    logs = folder.recorded_logs(command)
    if not logs:
        raise ValueError(f"there is no record in {folder.log_root}")
    *earlier, newest = logs
    record = read_record(newest.run)
    if command == "fit":
        seconds = record.seconds + sum(read_seconds(log.run) for log in earlier)
        return Outcome(seconds=round(seconds, 1), num_devices=record.num_devices, batch_norm=record.batch_norm)
    if command == "predict":
        if not (tarballs := list(newest.path.glob(TARBALL.format("*")))):
            raise ValueError(f"there are no label maps for the server in {newest.path}")
        return Outcome(seconds=record.seconds, submission=str(tarballs[0]))
    return Outcome(seconds=record.seconds, scores=read_scores(newest.evaluation))
