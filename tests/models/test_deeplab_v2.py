import torch

from deeplab_lightning.models.deeplab_v2 import DeepLabV2, scaled_side
from deeplab_lightning.models.layers import upsample


def test_logits_are_the_maximum_over_the_input_scales() -> None:
    network = DeepLabV2(3, "resnet50", (2, 4), (1, 0.75, 0.5)).eval()
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


def test_branches_are_summed() -> None:
    network = DeepLabV2(3, "vgg16", (2, 4)).eval()
    images = torch.randn(1, 3, 33, 33)
    with torch.no_grad():
        maps = network.head(network.backbone(images)[1])  # type: ignore[misc]
        expected = network.classifier[0](maps[0]) + network.classifier[1](maps[1])
        torch.testing.assert_close(network.forward_features(images), expected)
