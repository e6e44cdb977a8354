"""DeepLabv3 on MobileNetV2 of transformers: logits that its own code gave, and what is refused."""

from typing import Any

import pytest
import torch

from deeplab_lightning.published.transformers import from_transformers
from tests.published import samples

CONFIG: dict[str, Any] = {
    "model_type": "mobilenet_v2",
    "architectures": ["MobileNetV2ForSemanticSegmentation"],
    "output_stride": 8,
    "layer_norm_eps": 1e-3,
    "tf_padding": True,
}


def test_logits_are_those_of_transformers() -> None:
    """On an even and an odd side; the 1x1 convolution that the head does not read is left out."""
    sample = samples.read("transformers_mobilenet_v2")
    imported = from_transformers(CONFIG, sample.tensors())
    assert {*imported.used, *imported.ignored} == set(sample.shapes)
    assert all(name.startswith("mobilenet_v2.conv_1x1.") for name in imported.ignored)
    with torch.no_grad():
        logits = imported.network.forward_features(sample.images)
    assert (logits - sample.logits).abs().max() < 1e-4 * (sample.logits.max() - sample.logits.min())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model_type": "mobilevit"}, "MobileViT"),
        ({"model_type": "segformer"}, "segformer"),
        ({"architectures": ["MobileNetV2ForImageClassification"]}, "MobileNetV2ForImageClassification"),
        ({"depth_multiplier": 0.75}, "depth_multiplier 0.75"),
        ({"expand_ratio": 4.0}, "expand_ratio 4.0"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
    ],
)
def test_other_networks_and_options_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_transformers(CONFIG | changed, {})
