from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml

from deeplab_lightning.models.deeplab_v2 import DeepLabV2, scaled_side
from deeplab_lightning.models.layers import upsample

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def test_logits_are_the_maximum_over_the_input_scales() -> None:
    network = DeepLabV2(3, "resnet50", (2, 4), input_scales=(1, 0.75, 0.5)).eval()
    images = torch.randn(1, 3, 65, 81)
    with torch.no_grad():
        scales = network.forward_scales(images)
        assert [tuple(logits.shape[2:]) for logits in scales] == [(9, 11), (7, 8), (5, 6)]
        expected = torch.stack([upsample(logits, (9, 11), True) for logits in scales]).amax(0)
        assert torch.equal(network.forward_features(images), expected)


def test_sides_of_a_crop_of_321() -> None:
    """Grids of 41, 31 and 21 positions (section 3.2)."""
    sides = [scaled_side(321, scale, True) for scale in (1, 0.75, 0.5)]
    assert [(side - 1) // 8 + 1 for side in sides] == [41, 31, 21]
    assert scaled_side(321, 0.5, False) == 160
    for scale in (1, 0.75, 0.625, 0.5, 0.25):
        for side in range(1, 600):
            assert scaled_side(side, scale, True) == round((side - 1) * scale) + 1
            assert scaled_side(side, scale, False) == max(1, int(side * scale))


def test_branches_are_summed() -> None:
    network = DeepLabV2(3, "vgg16", (2, 4)).eval()
    images = torch.randn(1, 3, 33, 33)
    with torch.no_grad():
        maps = network.head(network.backbone(images)[1])  # type: ignore[misc]
        expected = network.classifier[0](maps[0]) + network.classifier[1](maps[1])
        torch.testing.assert_close(network.forward_features(images), expected)


@pytest.mark.parametrize("name", ["resnet101", "msc"])
def test_imagenet_weights_stride_where_torchvision_has_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of the rows without COCO equal those of torchvision's own ResNet, made atrous by torchvision."""
    settings = yaml.safe_load((EXPERIMENTS / "model" / "deeplab_v2_resnet101.yaml").read_text())["model"]["init_args"]
    rows = yaml.safe_load((EXPERIMENTS / "ablations" / "deeplab_v2_table4.yaml").read_text())["rows"]
    (own,) = (row["train"] for row in rows if row["name"] == name)
    settings |= {key.rpartition(".")[2]: value for key, value in own.items() if key.startswith("model.")}
    reference = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=(False, True, True)).eval()
    monkeypatch.setattr("deeplab_lightning.models.imagenet.torchvision_state_dict", lambda name: reference.state_dict())
    names = (
        *("atrous_rates", "classifier_kernel_size", "stride_unit"),
        *("input_scales", "pretrained", "align_corners"),
    )
    network = DeepLabV2(21, "resnet50", **{key: settings[key] for key in names}).eval()
    images = torch.randn(1, 3, 65, 97)
    layers = dict(reference.named_children())
    with torch.no_grad():
        features = images
        for layer in list(layers)[:-2]:  # without the average pooling and the linear layer
            features = layers[layer](features)
        torch.testing.assert_close(network.backbone(images)[1], features)
    # Caffe's place for the same weights gives other features, which frozen batch norms would never mend
    caffe = DeepLabV2(21, "resnet50", stride_unit="first_1x1").eval()
    caffe.backbone.load_state_dict(network.backbone.state_dict())
    with torch.no_grad():
        assert (caffe.backbone(images)[1] - features).std() > 0.05 * features.std()


def test_a_classifier_of_1x1() -> None:
    """Table 4 before LargeFOV, and the release's initial weights from COCO."""
    network = DeepLabV2(21, "resnet50", (1,), classifier_kernel_size=1)
    assert network.get_parameter("classifier.0.weight").shape == (21, 2048, 1, 1)
    with torch.no_grad():
        features = network.eval().backbone(torch.randn(1, 3, 33, 33))[1]
        assert network.forward_features(torch.zeros(1, 3, 33, 33)).shape == (1, 21, *features.shape[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classifier_kernel_size": 1}, r"classifier_kernel_size.* 1 with \[6, 12, 18, 24\]"),
        ({"classifier_kernel_size": 5}, "classifier_kernel_size.* 5"),
        ({"backbone": "vgg16", "classifier_kernel_size": 1, "atrous_rates": (1,)}, "classifier_kernel_size.*vgg16"),
        ({"backbone": "vgg16", "stride_unit": "first"}, "stride_unit.*vgg16"),
        ({"pretrained": True}, "pretrained.*stride_unit"),
    ],
)
def test_invalid_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepLabV2(21, **{"backbone": "resnet50"} | arguments)
