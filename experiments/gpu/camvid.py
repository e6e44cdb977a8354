"""CamVid from random weights with the budget of scale/tables_camvid.yaml, trained to its end over several starts."""

import os
from pathlib import Path

from commands import configs, deeplab, on_device, step_of
from session import Session, Unfinished, Values

from deeplab_lightning.identity import describe_identity
from deeplab_lightning.processors import count_processors
from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.run_reader import read_scores, read_seconds

MODEL = "model/deeplab_v3plus_xception65.yaml"
"""The variant with the best score in experiments/results/camvid.md."""
STEPS, GOAL = 6000, 0.60


def measure(session: Session) -> Values:
    """Go on with the training until its end, then score the best checkpoint on the test split.

    Raises:
        Unfinished: There is no CamVid, or the time is up.
    """
    root = Path(os.environ.get("DEEPLAB_DATA", "data")) / "camvid"
    if not (root / "class_names.txt").is_file():
        raise Unfinished(f"{root} does not exist; set DEEPLAB_DATA to the folder that holds camvid/")
    run, steps = session.folder / "run", 2 if session.smoke else STEPS
    options = configs("base.yaml", "data/camvid.yaml", MODEL, "scale/tables_camvid.yaml")
    options += on_device(session, run)
    if session.smoke:
        options += ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--data.num_workers", "0"]
        options += ["--data.batch_size", "2", "--data.crop_size", "[33, 33]", "--model.scales", "[0.1]"]
        options += [f"--trainer.limit_{split}_batches=1" for split in ("val", "test")]
    else:
        options += ["--trainer.precision", "bf16-mixed", "--data.num_workers", str(min(8, count_processors()))]
        options += ["--checkpoint.every_n_minutes", "2"]
    if step_of(run) < steps:
        try:
            deeplab(session, "fit", *options, "--ckpt_path", "last")
        except Unfinished as reason:
            raise Unfinished(f"step {step_of(run)} of {steps} is saved: {reason}") from None
    folder = RunFolder(run)
    deeplab(session, "test", *options, "--ckpt_path", str(folder.best))
    scores = read_scores(folder.recorded_logs("test")[-1].evaluation)
    miou = next(score for score in scores if str(score.name) == "test/miou")
    fits = folder.recorded_logs("fit")
    return {
        "model": MODEL,
        "miou": miou.value,
        "goal": GOAL,
        "identity": describe_identity(miou.identity),
        "steps": steps,
        "starts": len(fits),
        "seconds": sum(read_seconds(fit.run) for fit in fits),
    }
