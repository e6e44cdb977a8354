"""`deeplab validate` with the network on the device: without CRF, with the CRF on the device, and in pydensecrf's pool.

A small network is trained on Shapes, and scored on 400 images of 128x128. The seconds are those of the whole command
after its start, as run.json records them.
"""

from pathlib import Path

import yaml
from commands import EXPERIMENTS, configs, deeplab, newest_scores, small_training, step_of
from session import Session, Values, sentence_of

from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.run_reader import read_record

STEPS, IMAGES = 400, 400


def measure(session: Session) -> Values:
    """Train, unless an earlier start has, and evaluate in each of the three ways."""
    run = session.folder / "run"
    training = small_training(session, run, STEPS, smoke_steps=2)
    if not session.smoke:
        training += ["--data.num_val", str(IMAGES)]
    if step_of(run) < (2 if session.smoke else STEPS):
        deeplab(session, "fit", *training, "--ckpt_path", "last")
    ways = {
        "network alone": [],
        "CRF by torch on the device": configs("crf/shapes.yaml"),
        "CRF by pydensecrf's pool": ["-c", str(with_pydensecrf(session.folder))],
    }
    return {"ways": {name: evaluate(session, run, [*training, *options]) for name, options in ways.items()}}


def with_pydensecrf(folder: Path) -> Path:
    """The file crf/shapes.yaml with the other engine."""
    settings = yaml.safe_load((EXPERIMENTS / "crf/shapes.yaml").read_text())
    settings["trainer"]["callbacks+"][0]["init_args"]["engine"] = "pydensecrf"
    path = folder / "pydensecrf.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def evaluate(session: Session, run: Path, options: list[str]) -> Values:
    """The seconds and the scores of one evaluation; the sentence of one that fails."""
    folder = RunFolder(run)
    try:
        deeplab(session, "validate", *options, "--ckpt_path", str(folder.last))
    except RuntimeError as error:
        return {"sentence": sentence_of(error)}
    scores = newest_scores(run, "validate")
    return {
        "seconds": read_record(folder.recorded_logs("validate")[-1].run).seconds,
        "miou": scores["val/miou"],
        "miou_crf": scores.get("val/miou_crf"),
    }
