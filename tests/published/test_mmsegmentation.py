"""Networks of mmsegmentation: logits that its own code gave on weights drawn from their names, and what is refused."""

import pytest
import torch

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.published.mmsegmentation import from_mmsegmentation
from tests.published import samples

LARGEST_SHARE = 1e-4


def check(name: str, kind: type, output_stride: int = 8, align_corners: bool = False) -> None:
    """Compare the logits of a sample, without the auxiliary head that its file has beside it."""
    sample = samples.read(name)
    tensors = sample.tensors()
    auxiliary = {"auxiliary_head.conv_seg.weight": torch.zeros(7, 256, 1, 1)}
    imported = from_mmsegmentation(tensors | auxiliary, output_stride, align_corners)  # type: ignore[arg-type]
    assert isinstance(imported.network, kind)
    assert set(imported.used) == set(tensors)
    assert set(imported.ignored) == set(auxiliary)
    with torch.no_grad():
        logits = imported.network.forward_features(sample.images)
    assert (logits - sample.logits).abs().max() <= LARGEST_SHARE * (sample.logits.max() - sample.logits.min())


def test_v3plus_gives_the_logits_of_mmsegmentation() -> None:
    check("mmsegmentation_v3plus_r50_d8", DeepLabV3Plus)


@pytest.mark.slow
def test_v3_and_d16_mg124_give_the_logits_of_mmsegmentation() -> None:
    check("mmsegmentation_v3_r50_d8", DeepLabV3)
    check("mmsegmentation_v3plus_r101b_d16_mg124", DeepLabV3Plus, 16, align_corners=True)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["backbone.layer1.0.conv2.weight"], "ResNet-18"),
        (["backbone.layer1.0.conv.0.conv.weight"], "MobileNetV2"),
        (["backbone.conv1.weight", "decode_head.conv_seg.weight"], "ResNet-50"),
        (["backbone.conv1.weight"], "decode_head.conv_seg.weight"),
        (["decode_head.linear_fuse.conv.weight"], "decode_head.linear_fuse.conv.weight"),
    ],
)
def test_other_networks_are_refused(names: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_mmsegmentation({name: torch.zeros(7, 8, 1, 1) for name in names})


def test_other_output_strides_do_not_exist() -> None:
    sample = samples.read("mmsegmentation_v3_r50_d8")
    with pytest.raises(ValueError, match="output_stride 8 or 16, not 32"):
        from_mmsegmentation({name: torch.zeros(1).expand(shape) for name, shape in sample.shapes.items()}, 32)  # type: ignore[arg-type]
