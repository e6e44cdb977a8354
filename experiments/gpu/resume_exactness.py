"""A training that is killed and resumed, compared with an undisturbed one, with deterministic algorithms and without.

A small DeepLabv3+ on Shapes is killed (SIGKILL) a few steps after a checkpoint. Without deterministic algorithms, two
undisturbed trainings differ too: their difference is measured beside that of the resumed one.
"""

import shutil
from pathlib import Path

import torch
from commands import deeplab, small_training
from session import Session, Values, sentence_of

from deeplab_lightning.run_folder import RunFolder

STEPS, SAVED_EVERY, KILLED_AT = 100, 20, 50
SMOKE_STEPS, SMOKE_SAVED_EVERY, SMOKE_KILLED_AT = 5, 2, 3


def measure(session: Session) -> Values:
    """Compare trainings for each value of trainer.deterministic; "warn" only if torch refuses an operator."""
    modes = {"true": compare(session, "true")}
    if "sentence" in modes["true"]:
        modes["warn"] = compare(session, "warn")
    modes["false"] = compare(session, "false")
    return {"modes": modes, "steps": SMOKE_STEPS if session.smoke else STEPS}


def compare(session: Session, deterministic: str) -> Values:
    """The differences of the weights of a resumed training, and of a second one, from those of an undisturbed one."""
    saved_every, killed_at = (SMOKE_SAVED_EVERY, SMOKE_KILLED_AT) if session.smoke else (SAVED_EVERY, KILLED_AT)
    runs = {name: session.folder / f"{name}_{deterministic}" for name in ("whole", "second", "resumed")}
    for run in runs.values():
        shutil.rmtree(run, ignore_errors=True)

    def options(name: str) -> list[str]:
        training = small_training(session, runs[name], STEPS, SMOKE_STEPS)
        training += ["--checkpoint.every_n_steps", str(saved_every), "--ckpt_path", "last"]
        return [*training, "--trainer.deterministic", deterministic]

    try:
        deeplab(session, "fit", *options("whole"))
        deeplab(session, "fit", *options("second"))
        kill(session, runs["resumed"], [*options("resumed"), *killing(killed_at)])
        deeplab(session, "fit", *options("resumed"))
    except RuntimeError as error:
        return {"sentence": sentence_of(error)}
    return {name: difference(runs["whole"], runs[name]) for name in ("resumed", "second")}


def killing(step: int) -> list[str]:
    """The options that kill a training after a step."""
    return ["--trainer.callbacks+", "kill_at.KillAt", "--trainer.callbacks.step", str(step)]


def kill(session: Session, run: Path, options: list[str]) -> None:
    """Start a training that kills itself after it has saved a checkpoint.

    Raises:
        RuntimeError: It ended in another way.
    """
    try:
        deeplab(session, "fit", *options)
    except RuntimeError as error:
        if "status -9" in str(error) and RunFolder(run).last.is_file():
            return
        raise
    raise RuntimeError("the training that was to be killed has ended by itself")


def difference(run: Path, other: Path) -> float:
    """The largest difference of two runs' last weights, relative to a tensor's largest weight; 0 if equal."""
    first, second = (
        torch.load(RunFolder(each).last, weights_only=True, map_location="cpu")["state_dict"] for each in (run, other)
    )
    largest = 0.0
    for name, tensor in first.items():
        if not torch.equal(tensor, second[name]):
            distance = (tensor.double() - second[name].double()).abs().max() / tensor.double().abs().max()
            largest = max(largest, float(distance))
    return largest
