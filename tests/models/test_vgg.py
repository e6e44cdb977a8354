import pytest
import torch
import torchvision
from torch import Tensor, nn

from deeplab_lightning.models import vgg
from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.vgg import VGG16, SlicedConv2d, decimate_kernels


@pytest.fixture(scope="module")
def imagenet() -> dict[str, Tensor]:
    """A random VGG-16 of torchvision, cut to the tensors that are used."""
    with torch.device("meta"):
        reference = torchvision.models.vgg16(weights=None, init_weights=False)
    generator = torch.Generator().manual_seed(0)
    shapes = {key: value.shape for key, value in reference.state_dict().items() if not key.startswith("classifier.6")}
    return {key: torch.randn(shape, generator=generator) * 0.02 for key, shape in shapes.items()}


@pytest.fixture
def pretrained(imagenet: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    monkeypatch.setattr("deeplab_lightning.models.imagenet.torchvision_state_dict", lambda name: imagenet)
    return imagenet


def test_the_7x7_classifier_is_the_linear_one_made_convolutional(pretrained: dict[str, Tensor]) -> None:
    """On a 7x7 map of conv5, fc6 at rate 1 and fc7 give what the linear layers give."""
    head = DeepLabV1(5, 7, 4, 4096, pretrained=True).eval().head
    fc6_layer = head[0]
    assert isinstance(fc6_layer, nn.Conv2d)
    fc6_layer.dilation, fc6_layer.padding = (1, 1), (0, 0)
    features = torch.randn(1, 512, 7, 7)
    fc6 = torch.relu(features.flatten(1) @ pretrained["classifier.0.weight"].T + pretrained["classifier.0.bias"])
    fc7 = torch.relu(fc6 @ pretrained["classifier.3.weight"].T + pretrained["classifier.3.bias"])
    with torch.no_grad():
        torch.testing.assert_close(head(features).flatten(1), fc7, rtol=1e-4, atol=1e-4)


def test_largefov_keeps_every_third_position_and_every_fourth_filter(pretrained: dict[str, Tensor]) -> None:
    network = DeepLabV1(5, pretrained=True)
    kernels = pretrained["classifier.0.weight"].view(4096, 512, 7, 7)
    assert torch.equal(network.get_parameter("head.0.weight"), kernels[::4, :, ::3, ::3])
    assert torch.equal(network.get_parameter("head.3.weight")[..., 0, 0], pretrained["classifier.3.weight"][::4, ::4])
    assert torch.equal(network.get_parameter("head.0.bias"), pretrained["classifier.0.bias"][::4])
    assert torch.equal(network.get_parameter("backbone.features.0.weight"), pretrained["features.0.weight"])


def test_every_branch_of_v2_starts_from_the_same_filters(pretrained: dict[str, Tensor]) -> None:
    network = DeepLabV2(5, "vgg16", (6, 12), pretrained=True)
    first, second = (network.head.branches[index][0] for index in range(2))  # type: ignore[union-attr, index]
    assert torch.equal(first.weight, second.weight)
    assert (first.dilation, second.dilation) == ((6, 6), (12, 12))


@pytest.mark.parametrize(("side", "positions"), [(7, range(7)), (4, (0, 2, 4, 6)), (3, (0, 3, 6))])
def test_decimation_in_space(side: int, positions: list[int]) -> None:
    kernels = torch.arange(8 * 49.0).view(8, 1, 7, 7)
    thinned = decimate_kernels(kernels, 4, side)
    assert torch.equal(thinned, kernels[::2][:, :, list(positions)][..., list(positions)])


def test_poolings_have_caffe_s_sizes() -> None:
    """321 becomes 161, 81, 41; even sides are rounded up."""
    trunk = VGG16(pool5a=True)
    with torch.no_grad():
        pools, features = trunk(torch.zeros(1, 3, 321, 64))
    assert [pool.shape[2:] for pool in pools] == [(161, 33), (81, 17), (41, 9), (41, 9)]
    assert features.shape == (1, 512, 41, 9)
    assert trunk.features[24].dilation == (2, 2)


def test_poolings_of_2x2_have_caffe_s_sizes() -> None:
    """306 becomes 154, 78, 40, 39 in the release's train.prototxt, and 514 ends in 67 in its test.prototxt."""
    trunk = VGG16(pool5a=False, pool_size=2)
    kinds = [(layer.kernel_size, layer.stride) for layer in trunk.features if isinstance(layer, nn.MaxPool2d)]
    assert kinds == [(2, 2), (2, 2), (2, 2), (2, 1), (3, 1)]
    with torch.no_grad():
        pools, features = trunk(torch.zeros(1, 3, 306, 26))
        assert [pool.shape[2] for pool in pools] == [154, 78, 40, 39]
        assert features.shape == (1, 512, 39, 4)
        assert trunk(torch.zeros(1, 3, 514, 26), pad_pool4=True)[1].shape == (1, 512, 67, 6)


def test_pool5a_divides_by_the_padded_window() -> None:
    pooled = VGG16(pool5a=True).pool5a(torch.ones(1, 1, 3, 3))
    assert pooled[0, 0, 0, 0] == pytest.approx(4 / 9)


def test_slices_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg, "SLICE", 5)  # of 12 channels: 5, 5, 2
    sliced = SlicedConv2d(3, 12, 4, 1, 6, 4).double()
    whole = nn.Conv2d(3, 12, 4, 1, 6, 4).double()
    whole.load_state_dict(sliced.state_dict())
    images = torch.randn(2, 3, 9, 11, dtype=torch.float64)
    results = []
    for layer in (sliced, whole):
        pixels = images.clone().requires_grad_()
        output = layer(pixels)
        results.append([output, *torch.autograd.grad(output.square().sum(), [pixels, *layer.parameters()])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
