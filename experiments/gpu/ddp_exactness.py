"""Two processes on one device, which exchange tensors by gloo, compared with one process.

NCCL refuses two processes on one GPU, and Lightning refuses to use a GPU twice: torchrun starts two nodes with one
process each, on the same device. One process also trains in a process group of its own: of NCCL on a GPU, of gloo on a
processor. Compared are the weights after some steps and the confusion matrices of one checkpoint, which are integers.
"""

import json
import shutil
from pathlib import Path

from commands import deeplab, newest_scores, small_training, two_processes
from resume_exactness import difference
from session import Session, Values

from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.run_reader import read_record

STEPS, SMOKE_STEPS = 20, 2
GLOO = """
trainer:
  strategy:
    class_path: lightning.pytorch.strategies.DDPStrategy
    init_args: {process_group_backend: gloo}
"""


def measure(session: Session) -> Values:
    """Train and evaluate with one process and with two."""
    gloo = session.folder / "gloo.yaml"
    gloo.write_text(GLOO)
    runs = {name: session.folder / name for name in ("alone", "grouped", "two")}
    for run in runs.values():
        shutil.rmtree(run, ignore_errors=True)
    fixed = ["--trainer.deterministic", "warn"]  # else trainings differ even without a group
    training = {name: [*small_training(session, run, STEPS, SMOKE_STEPS), *fixed] for name, run in runs.items()}
    deeplab(session, "fit", *training["alone"])
    deeplab(session, "fit", *training["grouped"], "--trainer.strategy", "ddp")
    two_processes(session, "fit", *training["two"], "-c", str(gloo))
    last = ["--ckpt_path", str(RunFolder(runs["alone"]).last)]
    deeplab(session, "validate", *training["alone"], *last)
    two_processes(session, "validate", *training["two"], "-c", str(gloo), *last)
    one, both = (matrix(runs[name]) for name in ("alone", "two"))
    record = read_record(RunFolder(runs["two"]).recorded_logs("fit")[-1].run)
    return {
        "steps": SMOKE_STEPS if session.smoke else STEPS,
        "processes": record.num_devices,
        "batch_norm": record.batch_norm,
        "backend_of_one": "nccl" if session.on_gpu else "gloo",
        "grouped_difference": difference(runs["alone"], runs["grouped"]),
        "two_difference": difference(runs["alone"], runs["two"]),
        "pixels": sum(map(sum, one)),
        "equal_matrices": one == both,
        "miou": [newest_scores(runs[name], "validate")["val/miou"] for name in ("alone", "two")],
    }


def matrix(run: Path) -> list[list[int]]:
    """The confusion matrix of a run's newest validation."""
    path = RunFolder(run).recorded_logs("validate")[-1].classes("val")
    found: list[list[int]] = json.loads(path.read_text())["matrix"]
    return found
