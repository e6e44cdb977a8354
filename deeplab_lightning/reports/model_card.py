"""The model card of a model's folder: README.md and its pictures, from the model's description and its run folder.

A card goes to other people. It is made of chosen settings, scores and class names alone, so that no path and no name of
a machine or a user gets into it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader
from PIL import Image

from deeplab_lightning import __version__
from deeplab_lightning.datasets.pixels import read_pixels
from deeplab_lightning.description import ModelDescription
from deeplab_lightning.identity import describe_identity
from deeplab_lightning.published.entries import is_name
from deeplab_lightning.reports.charts import lines
from deeplab_lightning.reports.gallery import CURVES
from deeplab_lightning.reports.grid import Grid, inline
from deeplab_lightning.reports.scores import class_grid, score_grid, short_label
from deeplab_lightning.run_folder import TRIMAP_CURVE, RunFolder
from deeplab_lightning.run_reader import Run, read_logs, reading
from deeplab_lightning.scores import Score
from deeplab_lightning.segmentation.model_file import Model

PLACEHOLDER = "OWNER/NAME"
"""What a card calls a model that has no name on the hub yet."""
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "": ("seed_everything",),
    "model": (
        *("pretrained", "start_from", "optimizer", "lr", "lr_multipliers", "momentum", "weight_decay", "poly_power"),
        *("step_size", "loss", "class_weights", "frozen", "freeze_batch_norm", "batch_norm_momentum", "normalization"),
    ),
    "data": ("batch_size", "crop_size", "scale_range", "scale_step", "flip", "color_jitter"),
    "trainer": ("max_steps", "max_epochs", "max_time", "precision", "accumulate_grad_batches"),
}
"""The settings of a training that a card shows, by their section."""
OF_WEIGHTS = {"pretrained", "start_from"}
"""The settings that may hold the path of a file."""
METRICS = {"miou": ("mean_iou", "mIoU"), "pixel_accuracy": ("pixel_accuracy", "pixel accuracy")}
"""The type and the name of a score in a card's front matter, by its kind."""
NOT_SHOWN = {"seconds_per_image", "loss"}
"""Kinds of scores that tell about the machine or the training rather than the model."""
PICTURE_WIDTH, PICTURE_QUALITY = 1280, 88


@dataclass(frozen=True)
class Card:
    """A model card.

    Args:
        text: README.md with its front matter.
        pictures: The contents of the pictures in it, by file name.
    """

    text: str
    pictures: Mapping[str, bytes]


@dataclass
class Training:
    """The part of a card that comes from the run folder.

    Args:
        run: Scores of the card's weights, curves and panels.
        settings: Settings of the training, by their names on the command line.
        circumstances: Sentences on the machine, the versions and the time.
        gaps: Sentences about what the run folder does not tell.
    """

    run: Run
    settings: dict[str, str] = field(default_factory=dict)
    circumstances: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


def model_card(
    model: Model,
    title: str,
    folder: Path | None = None,
    licence: str | None = None,
    num_pictures: int = 4,
) -> Card:
    """Make the card of a model.

    Args:
        model: The model.
        title: Name of the model.
        folder: Run folder that the model was trained in; None if it is not known.
        licence: Identifier of a licence on the hub, such as "mit"; None if none is chosen.
        num_pictures: Greatest number of pictures of predictions.
    """
    description = model.description
    training = _read(description, folder)
    curves, predictions = _curves(training.run), _predictions(training.run, num_pictures)
    environment = Environment(
        loader=PackageLoader("deeplab_lightning.reports", "."),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["inline"] = inline
    text = environment.get_template("model_card.md.jinja").render(
        front=yaml.safe_dump(_front(description, title, licence, training.run.scores), sort_keys=False).rstrip("\n"),
        title=title,
        description=description,
        backbone=description.arguments.get("backbone", "vgg16"),
        output_stride=model.network.output_stride,
        pixels=description.normalization,
        version=__version__,
        placeholder=PLACEHOLDER,
        data=next((score.identity for score in training.run.scores), None),
        scores=score_grid(training.run) if training.run.scores else None,
        classes=_classes(description, training.run),
        training=training,
        curves=list(curves),
        predictions=list(predictions),
        licence=licence,
    )
    return Card(text, curves | predictions)


def _read(description: ModelDescription, folder: Path | None) -> Training:
    """Read the run folder, of which only the scores of the described weights are kept."""
    own = description.score
    if folder is None:
        training = Training(
            Run(""), gaps=["Data and settings of the training: the card was made from the weights alone."]
        )
    else:
        training = Training(read_logs(folder))
        _read_settings(RunFolder(folder), training)
    run = training.run
    of_others = {str(score.identity["weights"]) for score in run.scores}
    of_others -= {own.identity["weights"]} if own else set()
    kept = [score for score in run.scores if own and score.identity["weights"] == own.identity["weights"]]
    if own and not any((each.name, each.identity) == (own.name, own.identity) for each in kept):
        kept = [own, *kept]
    if own is None:
        training.gaps.append("Scores: the checkpoint does not say how well these weights did.")
    if of_others:
        training.gaps.append(
            f"Scores of other weights of the same training ({', '.join(sorted(of_others))}) are left out."
        )
    training.run = replace(
        run,
        scores=[score for score in kept if score.name.kind not in NOT_SHOWN],
        classes=[each for each in run.classes if own and each.identity["weights"] == own.identity["weights"]],
    )
    return training


def _read_settings(folder: RunFolder, training: Training) -> None:
    config = folder.newest_config("fit")
    if config is None:
        training.gaps.append("Settings of the training: its run folder has no record of them.")
        return
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
        training.settings = dict(_settings(content))
        with reading(config.with_name(folder.new_log("fit").run.name)) as record:
            training.circumstances = list(_circumstances(record))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        training.gaps.append("Settings or circumstances of the training: their record in the run folder is damaged.")


def _settings(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for section, names in SETTINGS.items():
        values = content[section].get("init_args", content[section]) if section else content
        for name in names:
            value = values.get(name)
            if value in (None, [], {}):
                continue
            if name in OF_WEIGHTS and isinstance(value, str) and not is_name(value):
                value = "a file"
            yield (
                f"{section}.{name}".lstrip("."),
                yaml.safe_dump(value, default_flow_style=True, width=10**6).split("\n")[0],
            )


def _circumstances(record: Mapping[str, Any]) -> Iterator[str]:
    environment, git = record["environment"], record["git"]
    versions = f"torch {environment['torch']}, lightning {environment['lightning']}"
    yield f"Device: {environment['num_devices']} x {environment['device']}; {versions}."
    if "seconds" in record:
        yield f"Time: {record['seconds'] / 60:.1f} minutes."
    if git:
        yield f"Code: commit {git['commit']}{' with changes' if git['dirty'] else ''}."


def _classes(description: ModelDescription, run: Run) -> Grid:
    """The table of the classes: with their scores, or with their colours if there are none."""
    grid = class_grid(run) if run.scores else Grid(["class"], [])
    if grid.rows:
        return grid
    palette = description.palette
    rows = [
        [str(index), name, "#{:02x}{:02x}{:02x}".format(*color)]
        for index, (name, color) in enumerate(zip(palette.class_names, palette.colors, strict=True))
    ]
    return Grid(["value", "class", "colour"], rows)


def _front(description: ModelDescription, title: str, licence: str | None, scores: Sequence[Score]) -> dict[str, Any]:
    """The front matter, by which the hub finds and shows a model."""
    tags = ["image-segmentation", "semantic-segmentation", "deeplab", "pytorch", description.network.lower()]
    front: dict[str, Any] = {"license": licence} if licence else {}
    front |= {"library_name": "deeplab_lightning", "pipeline_tag": "image-segmentation", "tags": tags}
    if results := list(_results(scores)):
        front["metrics"] = ["mean_iou"]
        front["model-index"] = [{"name": title, "results": results}]
    return front


def _results(scores: Sequence[Score]) -> Iterator[dict[str, Any]]:
    """The scores as results of the front matter, one for each evaluation."""
    groups: dict[str, list[Score]] = {}
    for score in scores:
        if score.name.kind in METRICS and not score.name.detail:
            groups.setdefault(describe_identity(score.identity), []).append(score)
    for how, group in groups.items():
        identity = group[0].identity
        slug = re.sub(r"[^a-z0-9]+", "-", str(identity["dataset"]).lower()).strip("-") or "own"
        yield {
            "task": {"type": "image-segmentation", "name": "Semantic segmentation"},
            "dataset": {"type": slug, "name": identity["dataset"], "split": identity["split"]},
            "metrics": [
                {
                    "type": kind,
                    "name": f"{words}, {short_label(identity)}",
                    "value": each.value,
                    "args": {"measured": how},
                }
                for each in group
                for kind, words in [METRICS[each.name.kind]]
            ],
        }


def _curves(run: Run) -> dict[str, bytes]:
    """The charts of a run's curves as PNGs by their names."""
    charts = {}
    for name, title in CURVES.items():
        if curve := run.curves.get(name):
            file = BytesIO()
            lines(title, {title: [curve]}).savefig(file, format="png", dpi=130)
            charts[f"{title.replace(' ', '_')}.png"] = file.getvalue()
    return charts


def _predictions(run: Run, count: int) -> dict[str, bytes]:
    """The first panels of a run by names that do not tell those of the images."""
    panels = [path for path in run.panels if path.name != TRIMAP_CURVE][:count]
    return {f"prediction_{number}.jpg": _picture(path) for number, path in enumerate(panels, 1)}


def _picture(path: Path) -> bytes:
    """A panel as a JPEG without metadata."""
    picture = Image.fromarray(read_pixels(path))
    picture.thumbnail((PICTURE_WIDTH, picture.height))
    file = BytesIO()
    picture.save(file, "JPEG", quality=PICTURE_QUALITY)
    return file.getvalue()
