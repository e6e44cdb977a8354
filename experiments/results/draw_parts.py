"""Draw what_each_part_brings.png: the label maps of the table's networks on images of Shapes' val split.

    python experiments/results/draw_parts.py [--runs runs/ablations] [--data data/shapes]

The trainings are those of `deeplab ablate experiments/results/what_each_part_brings.yaml`, seed 0.
"""

import argparse
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from deeplab_lightning import load
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.scales import PAPER_SCALE
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.crf import DenseCRF
from deeplab_lightning.drawing import panel

HERE = Path(__file__).parent
ROWS = ("all", "no_decoder", "no_image_pooling", "output_stride_32")
NUMBERS = (4, 17, 33)
"""The numbers of the images."""


def main() -> None:
    """Segment the images with each network, and draw the label maps in rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"), help="folder of the runs of each scale")
    parser.add_argument("--data", type=Path, default=Path("data/shapes"), help="folder of Shapes")
    options = parser.parse_args()
    settings = yaml.safe_load((HERE.parent / "crf" / "shapes.yaml").read_text())
    crf = DenseCRF(**settings["trainer"]["callbacks+"][0]["init_args"])
    plan = plan_table(read_table(HERE / "what_each_part_brings.yaml"), PAPER_SCALE, names=ROWS)
    names = [f"val_{number:05d}" for number in NUMBERS]
    images = [options.data / "JPEGImages" / f"{name}.jpg" for name in names]
    rows = [
        {
            "image": np.asarray(Image.open(image)),
            "ground truth": np.asarray(Image.open(options.data / "SegmentationClass" / f"{image.stem}.png")),
        }
        for image in images
    ]
    for planned in plan.rows:
        assert planned.training is not None
        model = load(options.runs / PAPER_SCALE / planned.training.name / "last.ckpt", device="cpu")
        for row, image in zip(rows, images, strict=True):
            row[planned.row.name] = model.segment(image).mask
            if planned.row.name == "all":
                row["all_crf"] = model.segment(image, crf=crf).mask
    panel(rows, model.description.palette).save(HERE / "what_each_part_brings.png", optimize=True)


if __name__ == "__main__":
    main()
