"""The files of experiments/model hold what the papers and their releases say, value by value."""

from pathlib import Path
from typing import Any

import pytest
import yaml

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
V1, V3 = "deeplab_v1*", "deeplab_v3*"
RESNET = (
    "deeplab_v3.yaml",
    "deeplab_v3_cascade.yaml",
    "deeplab_v3plus.yaml",
    "deeplab_v3plus_resnet50.yaml",
    "*_beta.yaml",
)

# Files, setting, value, source
VALUES: list[tuple[tuple[str, ...], str, object, str]] = [
    ((V1, "deeplab_v2_vgg16*"), "model.lr", 0.001, "solver.prototxt of the releases"),
    ((V1,), "model.step_size", 2000, "v1, section 5"),
    ((V1,), "model.weight_decay", 5.0e-4, "v1, section 5"),
    ((V1,), "trainer.max_steps", 6000, "solver.prototxt"),
    ((V1, "deeplab_v2*"), "model.bias_lr_multiplier", 2.0, "train.prototxt"),
    (
        ("deeplab_v1.yaml", "*_4x4*", "*_7x7*", "deeplab_v1_largefov.yaml"),
        "model.lr_multipliers",
        {"classifier": 10.0},
        "5",
    ),
    (("deeplab_v1_msc*",), "model.lr_multipliers", None, "train.prototxt of the MSc models: 1 and 2"),
    (("deeplab_v1_msc.yaml",), "model.frozen", ["backbone", "head"], "train.prototxt of DeepLab-MSc: fc8 trains"),
    (("*_msc_largefov*",), "model.frozen", ["backbone", "head", "classifier.0"], "that of MSc-LargeFOV: fc8 does not"),
    (("deeplab_v1.yaml",), "data.crop_size", [306, 306], "train.prototxt of DeepLab"),
    (("deeplab_v1_*",), "data.crop_size", [321, 321], "train.prototxt of the others"),
    (("deeplab_v1.yaml",), "model.pool_size", 2, "train.prototxt of DeepLab"),
    (("deeplab_v1_*",), "model.pool_size", 3, "train.prototxt of the others"),
    (("*v1_largefov.yaml", "*_msc_largefov.yaml"), "model.pool5a", True, "train.prototxt"),
    (("deeplab_v1.yaml", "deeplab_v1_msc.yaml", "*_4x4*", "*_7x7*"), "model.pool5a", False, "train.prototxt"),
    (("*v1_largefov.yaml", "*_msc_largefov.yaml"), "data.batch_size", 30, "train.prototxt"),
    (("deeplab_v1.yaml", "deeplab_v1_msc.yaml"), "data.batch_size", 20, "train.prototxt"),
    (("deeplab_v2*",), "data.crop_size", [321, 321], "train.prototxt"),
    (("deeplab_v2*",), "data.batch_size", 10, "v2, section 4.1.2"),
    (("deeplab_v2*",), "model.poly_power", 0.9, "v2, section 4.1.2"),
    (("deeplab_v2_vgg16*", "deeplab_v2_resnet*"), "trainer.max_steps", 20000, "v2, section 4.1.2"),
    (("deeplab_v2_resnet*",), "model.lr", 2.5e-4, "the release's solver"),
    (("deeplab_v1.yaml", "*_4x4*"), "model.pretrained", "caffe/vgg16_128", "v1's release: fc6 of 4x4"),
    (("deeplab_v1_largefov.yaml",), "model.pretrained", "caffe/vgg16_20M", "v1's release: 20.5 M parameters"),
    (("deeplab_v2_vgg16*",), "model.pretrained", "caffe/v2_vgg16_init", "init.caffemodel of v2's VGG-16"),
    (("deeplab_v2_resnet*",), "model.pretrained", "caffe/v2_resnet101_coco", "init.caffemodel of v2's ResNet-101"),
    (("deeplab_v2_resnet*", "deeplab_v2_crfrnn*"), "model.stride_unit", "first_1x1", "Caffe's ResNet"),
    (
        ("deeplab_v1.yaml", "*_4x4*", "*v1_largefov*", "*_msc*", "deeplab_v2*"),
        "model.normalization",
        "caffe",
        "that of the weights",
    ),
    (
        ("deeplab_v3_resnet101_beta*", "deeplab_v3plus_resnet101_beta*", "*_cascade*"),
        "model.pretrained",
        "tensorflow/resnet101_beta_imagenet",
        "resnet_v1_101_beta of the release",
    ),
    (("*xception65*",), "model.pretrained", "tensorflow/xception65_imagenet", "xception_65 of the release"),
    (("deeplab_v2_resnet*", "deeplab_v2_crfrnn*"), "data.scale_step", 0.25, "the release's data layer"),
    ((V3,), "data.scale_range", [0.5, 2.0], "v3, section 4.1"),
    ((V3,), "data.scale_step", 0.25, "train.py of the TensorFlow release"),
    ((V3,), "data.crop_size", [513, 513], "v3, section 4.1; v3+, section 4"),
    ((V3,), "data.batch_size", 16, "v3, section 4.1"),
    ((V3,), "trainer.max_steps", 30000, "v3, section 4.1"),
    ((*RESNET, "*xception*"), "model.batch_norm_momentum", 3.0e-4, "v3, section 4.1: a decay of 0.9997"),
    (
        ("deeplab_v3*mobilenet*",),
        "model.batch_norm_momentum",
        3.0e-3,
        "slim's MobileNetV2: a decay of 0.997; (?) for V3",
    ),
    (("*_stage2*",), "model.lr", 0.001, "v3, section 4.1"),
    (("*_stage2*",), "model.freeze_batch_norm", True, "v3, section 4.1"),
    ((*RESNET, "*_stage2*"), "model.weight_decay", 1.0e-4, "train.py of the TensorFlow release"),
    (("*xception*", "*mobilenet*"), "model.weight_decay", 4.0e-5, "train.py of the TensorFlow release"),
    (("*_beta*", "*_cascade*", "*_stage2*"), "model.stem", "three_conv3x3", "resnet_v1_beta.py"),
    (("*_beta*", "*_cascade*", "*_stage2*"), "model.stride_unit", "last", "resnet_v1_beta.py"),
    (("*plus_resnet101_beta*",), "model.low_level_features", "conv3", "feature_extractor.py"),
]


@pytest.mark.parametrize(("patterns", "setting", "value", "source"), VALUES)
def test_values(patterns: tuple[str, ...], setting: str, value: object, source: str) -> None:
    files = [path for pattern in patterns for path in (EXPERIMENTS / "model").glob(pattern)]
    assert files
    part, name = setting.split(".")
    for path in files:
        section = read(path)[part]
        assert section.get("init_args", section)[name] == value, f"{path.name}, {setting}: {source}"


@pytest.mark.parametrize("name", ["voc2012", "voc2012_aug"])
def test_voc_is_evaluated_at_513(name: str) -> None:
    """v1's and v2's test.prototxt; v3, section 4.1: crops of 513 in training and at test time."""
    assert read(EXPERIMENTS / "data" / f"{name}.yaml")["data"]["init_args"]["evaluation_size"] == "pad_to_513"


def test_short_trainings_take_back_what_needs_the_papers_length() -> None:
    """Batch norm's statistics, and scales and sizes that do not fit other data."""
    for path in sorted((EXPERIMENTS / "scale").glob("*.yaml")):
        settings = read(path)
        assert settings["model"]["init_args"]["batch_norm_momentum"] == 0.1, path
        assert settings["data"]["init_args"]["scale_step"] is None, path


def read(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(path.read_text())
    return settings
