"""The results of a job whose process has ended, read from its logs or from its exit status."""

import signal

from deeplab_lightning.ablation.outcomes import Outcome
from deeplab_lightning.datasets.submission import PACKAGES
from deeplab_lightning.run_folder import JobFolder
from deeplab_lightning.run_reader import read_record, read_scores, read_seconds

ERROR_PREFIX = "deeplab: error:"  # the start of the last line in the log of a command that reported its own failure


def describe_failure(status: int, log: str) -> str:
    """A description of how a process ended, with its error message if it printed one.

    Args:
        status: The exit status. Signal n gives -n, or 128 + n from a shell or from `deeplab` itself.
        log: The last lines that the process printed.
    """
    number = -status if status < 0 else status - 128
    names = {each.value: each.name for each in signal.Signals}
    ending = f"killed by {names[number]}" if number in names else f"ended with status {status}"
    last = log.rpartition("\n")[2]
    return f"{ending}: {last}" if last.startswith(ERROR_PREFIX) else ending


def read_results(folder: JobFolder, command: str) -> Outcome:
    """The outcome of a job whose process ended with status 0, read from its logs.

    The seconds of a training are summed over all attempts. An attempt that ended by SIGKILL is not counted, because it
    left no record.

    Raises:
        ValueError: There is no record of a run, the newest one cannot be read, or there is no package for the server.
    """
    if command == "weights":  # a download, which keeps its file in the cache and no record
        return Outcome()
    logs = folder.recorded_logs(command)
    if not logs:
        raise ValueError(f"there is no record in {folder.log_root}")
    *earlier, newest = logs
    record = read_record(newest.run)
    if command == "fit":
        seconds = record.seconds + sum(read_seconds(log.run) for log in earlier)
        return Outcome(seconds=round(seconds, 1), num_devices=record.num_devices, batch_norm=record.batch_norm)
    if command == "predict":
        if not (packages := [path for pattern in PACKAGES for path in newest.path.glob(pattern)]):
            raise ValueError(f"there are no label maps for the server in {newest.path}")
        return Outcome(seconds=record.seconds, submission=str(packages[0]))
    return Outcome(seconds=record.seconds, scores=read_scores(newest.evaluation))
