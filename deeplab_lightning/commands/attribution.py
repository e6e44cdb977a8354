"""Measuring a run again with one part of the evaluation changed at a time, to see what each part explains."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.commands.brought_settings import read_brought_settings
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.reports.differences import CRF, Measurement
from deeplab_lightning.run_folder import LogFolder, RunFolder
from deeplab_lightning.run_reader import read_logs, read_scores
from deeplab_lightning.scores import ScoreName
from deeplab_lightning.settings.compose import compose
from deeplab_lightning.settings.resolve import ADDED

MODEL, DATA = "model.init_args", "data.init_args"
PARTS = {
    "size of the images": (f"{DATA}.evaluation_size", f"{MODEL}.fit_to"),
    "sliding windows": (f"{MODEL}.window", f"{MODEL}.window_stride"),
    "void": (f"{DATA}.void_as",),
    "output stride": (f"{MODEL}.output_stride", f"{MODEL}.atrous_rates"),
    "align_corners": (f"{MODEL}.align_corners",),
    "scales": (f"{MODEL}.scales",),
    "flip": (f"{MODEL}.flip",),
    "precision": ("trainer.precision",),
    "dense CRF": (CRF,),
}
"""The parts of an evaluation and the settings of each."""
PROTOCOLS: dict[str, dict[str, Any]] = {
    "centre_crop_513": {f"{DATA}.evaluation_size": "centre_crop_513"},
    "short_side_520": {f"{DATA}.evaluation_size": "short_side_520"},
    "short_side_512": {f"{DATA}.evaluation_size": "whole_image", f"{MODEL}.fit_to": [2048, 512]},
    "void_as_background": {f"{DATA}.void_as": 0},
}
"""Parts of other projects' evaluations by name: VainF's and jfzhang95's crops, torchvision's resized labels,
mmsegmentation's resizing, and void as class 0."""

RECOUNTED = "counted otherwise: "


@dataclass(frozen=True)
class Rescored:
    """One evaluation with a part changed.

    Args:
        part: Name of the part.
        miou: Mean IoU in percent; None if it could not be measured.
        points: Points of mIoU that the part brings.
        remark: Why it could not be measured; empty otherwise.
    """

    part: str
    miou: float | None
    points: float | None
    remark: str = ""

    @property
    def is_recount(self) -> bool:
        """Whether the same predictions are counted in another way."""
        return self.part.startswith(RECOUNTED)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


class Attribution:
    """The evaluation of a run, again and again.

    Args:
        run: The run.
        out: Folder of the evaluations.
        images: Number of images to score; None for all.
        options: Further options of `deeplab validate`.

    Raises:
        ValueError: The run has no checkpoint or config, or its config names foreign code.
    """

    def __init__(self, run: Measurement, out: Path, images: int | None = None, options: Sequence[str] = ()) -> None:
        if run.log is None:
            raise ValueError(f"{run.name}: only a run can be scored again; put it first")
        self.run, self.out, self.images, self.options = run, out, images, options
        self.settings = read_brought_settings(run.log.config)
        self.checkpoint = checkpoint_of(run.log)
        self.command = "test" if next(iter(run.scores)).split == "test" else "validate"

    def changes(self, other: Measurement) -> dict[str, dict[str, Any]]:
        """Return the settings of another measurement by the parts in which they differ."""
        own, theirs = self.run.evaluation, other.evaluation
        found = {}
        for part, names in PARTS.items():
            differing = {name: theirs.get(name, ADDED.get(name)) for name in names if own.get(name) != theirs.get(name)}
            if differing:
                found[part] = {name: other.crf if name == CRF else value for name, value in differing.items()}
        return found

    def score(self, changes: Mapping[str, Any]) -> tuple[float, LogFolder]:
        """Score the run with changed settings.

        Returns:
            The mean IoU, after the CRF if there is one, and the log folder of the evaluation.
        """
        from deeplab_lightning.cli import run  # here because it imports Lightning

        plain = {name: value for name, value in changes.items() if name != CRF}
        settings = compose([self.settings], plain)
        crf: DenseCRF | None = changes.get(CRF, self.run.crf)
        trainer = settings.setdefault("trainer", {})
        trainer["callbacks"] = [] if crf is None else [{"class_path": "CRFEvaluation", "init_args": asdict(crf)}]
        if self.images is not None:
            limit = {"validate": "limit_val_batches", "test": "limit_test_batches"}[self.command]
            trainer[limit], settings["data"]["init_args"]["eval_batch_size"] = self.images, 1
        config = self.out / "evaluation.yaml"
        write_atomically(config, yaml.safe_dump(settings, sort_keys=False))
        words = ["-c", str(config), "--ckpt_path", str(self.checkpoint), "--trainer.default_root_dir", str(self.out)]
        with redirect_stdout(io.StringIO()):
            run(self.command, [*words, "--wandb.mode", "disabled", *self.options])
        newest = RunFolder(self.out).recorded_logs(self.command)[-1]
        split = {"validate": "val", "test": "test"}[self.command]
        wanted = ScoreName(split, "miou", refined=crf is not None)
        return next(each.value for each in read_scores(newest.evaluation) if each.name == wanted), newest

    def rescored(self, parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Rescored]:
        """Yield the run as it was measured, with each part alone, and with all parts that could be measured."""
        before, log = self.score({})
        yield Rescored("as measured", 100 * before, 0.0)
        yield from _counted_otherwise(log)
        together: dict[str, Any] = {}
        for part, changes in parts.items():
            try:
                value, _ = self.score(changes)
            except (ValueError, TypeError, OSError) as error:
                yield Rescored(part, None, None, " ".join(str(error).split()))
                continue
            together |= changes
            yield Rescored(part, 100 * value, 100 * (value - before))
        if len(together) > 1:
            value, _ = self.score(together)
            yield Rescored("all of them together", 100 * value, 100 * (value - before))


def checkpoint_of(log: LogFolder) -> Path:
    """Find the checkpoint that an evaluation scored.

    Raises:
        FileNotFoundError: It is neither where it was nor in the run folder.
    """
    named = yaml.safe_load(log.config.read_text()).get("ckpt_path")
    run = RunFolder(log.path.parents[1])
    places = [] if named is None else [Path(named), run.path / Path(named).name]
    places += [run.best, run.last]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{log.path}: its checkpoint is not there: {named}")


def _counted_otherwise(log: LogFolder) -> Iterator[Rescored]:
    """Yield the mean IoU of the same predictions over other classes than those that occur somewhere."""
    for record in read_logs(log.path.parents[1]).classes:
        if record.identity.get("crf") is not None:
            continue
        matrix = np.asarray(record.matrix, np.float64)
        union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
        shares = 100 * matrix.diagonal() / np.maximum(union, 1)
        occurring, labelled = union > 0, matrix.sum(1) > 0
        for words, classes in (("absent classes as 0", union >= 0), ("labelled classes alone", labelled)):
            if not np.array_equal(classes, occurring):
                value = float(shares[classes].mean())
                yield Rescored(f"{RECOUNTED}{words}", value, value - float(shares[occurring].mean()))
        return
