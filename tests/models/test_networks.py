"""One contract for all networks: sizes, gradients, determinism, batch of one."""

from collections.abc import Callable

import pytest
import torch

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.layers import SegmentationNetwork

Builder = Callable[[], SegmentationNetwork]
NETWORKS: dict[str, Builder] = {
    "v3 resnet18": lambda: DeepLabV3(5, "resnet18"),
    "v3 resnet50 stride 8": lambda: DeepLabV3(5, "resnet50", 8, (12, 24, 36), (1, 2, 4), "three_conv3x3", "last"),
    "v3 without image pooling": lambda: DeepLabV3(5, "resnet18", image_pooling=False, align_corners=True),
    "v3+ resnet18": lambda: DeepLabV3Plus(5, "resnet18"),
    "v3+ resnet34 stride 32": lambda: DeepLabV3Plus(5, "resnet34", 32, (3, 6, 9), align_corners=True),
    "v3+ separable": lambda: DeepLabV3Plus(5, "resnet18", separable=True, decoder_convs=1, decoder_channels=128),
    "v3+ mobilenet_v2": lambda: DeepLabV3Plus(5, "mobilenet_v2"),
    "v3+ timm": lambda: DeepLabV3Plus(5, "tu-mobilenetv3_small_050", aspp_channels=64),
}


@pytest.fixture(params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> SegmentationNetwork:
    return NETWORKS[request.param]()


def test_any_size(network: SegmentationNetwork) -> None:
    network.eval()
    for height, width in ((33, 47), (64, 64), (65, 81)):
        images = torch.randn(2, 3, height, width)
        with torch.no_grad():
            logits = network(images)
            assert logits.shape == (2, 5, height, width)
            assert torch.isfinite(logits).all()
            assert torch.equal(logits, network(images))
            assert network(images, (20, 30)).shape == (2, 5, 20, 30)


def test_training_reaches_every_parameter_in_a_batch_of_one(network: SegmentationNetwork) -> None:
    """The image pooling branch has one value per channel then, which batch norm alone refuses."""
    network.train()
    network(torch.randn(1, 3, 65, 65)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    reached = sum(bool(parameter.grad is not None and parameter.grad.any()) for parameter in network.parameters())
    assert reached == sum(1 for _ in network.parameters())


def test_parts_have_the_agreed_names(network: SegmentationNetwork) -> None:
    parts = {name for name, _ in network.named_children()}
    assert parts <= {"backbone", "aspp", "head", "decoder", "classifier"}
    assert {"backbone", "classifier"} <= parts


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DeepLabV3(1), "num_classes must be at least 2"),
        (lambda: DeepLabV3(5, "resnet18", atrous_rates=()), "atrous_rates must hold"),
        (lambda: DeepLabV3(5, "resnet18", 12), "output_stride must be 8, 16 or 32"),
        (lambda: DeepLabV3(5, "mobilenet_v2", 12), "output_stride must be 8, 16 or 32"),
        (lambda: DeepLabV3Plus(5, "resnet18", decoder_convs=0), "decoder_convs must be at least 1"),
        (lambda: DeepLabV3Plus(5, "mobilenet_v2", multi_grid=(1, 2, 4)), "act on this package's ResNets only"),
        (lambda: DeepLabV3Plus(5, "resnet51"), "backbone 'resnet51'"),
        (lambda: DeepLabV3Plus(5, "vgg16", 16), "backbone 'vgg16'"),
    ],
)
def test_settings_that_cannot_work(build: Builder, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
