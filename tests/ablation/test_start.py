"""The weights that trainings stand on, in words; test_experiments_tables.py checks those of the papers' tables."""

from pathlib import Path

import pytest

from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.start import describe_start
from deeplab_lightning.ablation.table import read_table
from tests.ablation.tables import TABLE, write_tree

SECOND = "  - {name: second, start_from: plain, train: {model.init_args.lr: 0.1}, paper: 3}\n"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("model.init_args.pretrained: false", "random weights"),
        ("model.init_args.pretrained: true", "ImageNet weights of torchvision"),
        ("model.init_args.pretrained: true, model.init_args.stem: three_conv3x3", "ImageNet weights of timm"),
        ("model.init_args.pretrained: true, model.init_args.backbone: xception65", "ImageNet weights of timm"),
        ("model.init_args.pretrained: true, model.init_args.backbone: tu-resnet26", "ImageNet weights of timm"),
        ("model.init_args.pretrained: true, model.init_args.backbone: efficientnet-b0", "ImageNet weights of smp"),
        ("model.init_args.pretrained: caffe/vgg16_20M", "caffe/vgg16_20M"),
    ],
)
def test_start_in_words(settings: str, expected: str, tmp_path: Path) -> None:
    text = TABLE.replace("{name: plain, train: {}", f"{{name: plain, train: {{{settings}}}") + SECOND
    plan = plan_table(read_table(write_tree(tmp_path, tmp_path, text)), "paper", names=["plain", "second"])
    first, second = plan.trainings
    assert describe_start(first) == expected
    assert describe_start(second) == f"plain, from {expected}"
