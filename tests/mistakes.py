"""Mistakes on the command line and the errors that they print: the list in mistakes.yaml.

After a change of an error message, run `python -m tests.mistakes` to rewrite the list, and read every line of the diff.
To add a mistake, add an item that has only a command.
"""

import json
import os
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.datasets.shapes import generate

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".yaml")
HEADER = f"# {__doc__.splitlines()[0]}\n# {__doc__.splitlines()[2]}\n"
SMOKE = (
    "-c experiments/base.yaml -c experiments/data/shapes.yaml "
    "-c experiments/model/deeplab_v3plus.yaml -c experiments/scale/smoke.yaml"
)
FILES = {
    "tab.yaml": "trainer:\n\tmax_steps: 3\n",
    "indent.yaml": "trainer:\n  max_steps: 3\n    log_every_n_steps: 3\n",
    "bracket.yaml": "data:\n  init_args: {crop_size: [128, 128}\n",
    "setting.yaml": "trainer:\n  max_stepps: 3\n",
    "section.yaml": "trainr:\n  max_steps: 3\n",
    "argument.yaml": "model:\n  init_args:\n    backbon: resnet18\n",
    "value.yaml": "data:\n  init_args:\n    batch_size: sixteen\n",
    "null.yaml": "data:\n  class_path: ShapesDataModule\n  init_args:\n    batch_size: null\n",
    "list.yaml": "- trainer\n- model\n",
    "empty.yaml": "",
    "callback.yaml": "trainer:\n  callbacks+:\n    - class_path: CRFEvalution\n",
    "iterations.yaml": "trainer:\n  callbacks+:\n    - {class_path: CRFEvaluation, init_args: {iteration: 5}}\n",
    "own.yaml": "data: {class_path: FolderDataModule}\n",
    "table.yaml": "table: mine\nrow: []\n",
}


def prepare(folder: Path) -> None:
    """Fill the folder in which the commands are run."""
    (folder / "experiments").symlink_to(ROOT / "experiments")
    write_shapes(folder / "data" / "shapes")
    (folder / "picture.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    for name, text in FILES.items():
        (folder / name).write_text(text)


def write_shapes(root: Path) -> None:
    """Write a Shapes data set for SMOKE. All images are links to one, because no mistake depends on their content."""
    counts = {"train": 600, "val": 100, "test": 100}
    generate(root, {"one": 1}, (128, 128))
    settings = json.loads((root / "shapes.json").read_text()) | {"num_images": counts}
    (root / "shapes.json").write_text(json.dumps(settings))
    for split, count in counts.items():
        image_ids = [f"{split}_{index:05d}" for index in range(count)]
        for image_id in image_ids:
            for name in ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"):
                (root / name.format(image_id)).hardlink_to(root / name.format("one_00000"))
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(image_ids))


def options(command: str) -> list[str]:
    """The words of a command, in which SMOKE is replaced by the options of the README's first run."""
    return shlex.split(command.removeprefix("deeplab ").replace("SMOKE", SMOKE))


def error_lines(printed: str) -> list[str]:
    """The lines of standard error that report an error."""
    return [line for line in printed.splitlines() if "error" in line.lower()]


def mistakes() -> list[dict[str, Any]]:
    """The items {command, status, prints} of the list."""
    items: list[dict[str, Any]] = yaml.safe_load(LIST.read_text())
    return items


def _make() -> None:
    items = mistakes()
    with TemporaryDirectory() as folder:
        prepare(Path(folder))
        os.chdir(folder)
        os.environ.pop("DEEPLAB_DATA", None)
        os.environ["WANDB_MODE"] = "disabled"
        for item in items:
            with redirect_stderr(StringIO()) as errors, redirect_stdout(StringIO()):
                item["status"] = main(options(item["command"]))
            item["prints"] = "\n".join(error_lines(errors.getvalue()))
            print(f"$ {item['command']}\n{item['status']} {item['prints']}\n", file=sys.__stdout__)
    LIST.write_text(HEADER + yaml.safe_dump(items, sort_keys=False, width=10**6, allow_unicode=True))


if __name__ == "__main__":
    _make()
