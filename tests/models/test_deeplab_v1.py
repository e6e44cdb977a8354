import pytest
import torch
from torch import Tensor, nn

from deeplab_lightning.losses.decimation import decimate
from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.layers import upsample


@pytest.fixture(scope="module")
def msc() -> DeepLabV1:
    """MSc-LargeFOV with branches that carry weight, which those of the release start without."""
    torch.manual_seed(0)
    network = DeepLabV1(4, fc_channels=64, multi_scale=True).double().eval()
    for layer in [*network.decoder.modules(), *network.classifier]:  # type: ignore[union-attr]
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=(2 / layer.weight[0].numel()) ** 0.5)
    return network


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(1, 3, 65, 81, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_msc_at_test_time_is_dense(msc: DeepLabV1, images: Tensor) -> None:
    """On the grid of stride 8 the test net equals the training net; between, it is not that net's upsampling."""
    with torch.no_grad():
        dense, strided = msc(images), msc.forward_features(images)
    assert dense.shape == (1, 4, 65, 81)
    torch.testing.assert_close(dense[..., ::8, ::8], strided, rtol=0, atol=1e-12)
    between = (dense - upsample(strided, (65, 81), True)).abs()
    assert between[..., 4::8, 4::8].mean() > 0.01 * dense.abs().mean()


@pytest.mark.parametrize("branch", range(5))
def test_each_branch_of_msc_is_added_at_its_own_resolution(msc: DeepLabV1, images: Tensor, branch: int) -> None:
    """The image at every pixel, pool1 at every second, pool2 at every fourth, pool3 and pool4 at every eighth.

    At sides that are not 8k + 1 the positions of all stay over the same pixels.
    """
    step = (1, 2, 4, 8, 8)[branch]
    others = [layer for number, layer in enumerate(msc.classifier) if number != branch + 1]
    handles = [layer.register_forward_hook(lambda *args: torch.zeros_like(args[2])) for layer in others]
    assert msc.decoder is not None
    for pixels in (images, images[..., :60, :76]):
        height, width = pixels.shape[2:]
        with torch.no_grad():
            logits = msc(pixels)
            own = msc.classifier[branch + 1](msc.decoder.forward_dense(pixels, msc.backbone(pixels)[0])[branch])
        assert logits.shape == (1, 4, height, width)
        rows, columns = -(-height // step), -(-width // step)
        torch.testing.assert_close(logits[..., ::step, ::step], own[..., :rows, :columns])
        if step > 1:  # half way between two positions lies their mean
            torch.testing.assert_close(
                logits[..., step // 2, 0], (own[..., 0, 0] + own[..., 1, 0]) / 2, rtol=1e-9, atol=1e-9
            )
    for handle in handles:
        handle.remove()


def test_fillers_of_msc() -> None:
    """train.prototxt: 0.001, but 0.005 for pool4's 1x1; classifiers 0.01, but pool3's, which has no filler, 0."""
    network = DeepLabV1(4, fc_channels=64, multi_scale=True)
    assert network.decoder is not None
    branches = [branch.modules() for branch in network.decoder.branches]
    convs = [[layer for layer in branch if isinstance(layer, nn.Conv2d)] for branch in branches]
    stds = [[conv.weight.std().item() for conv in pair] for pair in convs]
    assert stds == [pytest.approx([0.001, second], rel=0.1) for second in (0.001, 0.001, 0.001, 0.001, 0.005)]
    classifiers = [network.get_parameter(f"classifier.{index}.weight").std().item() for index in range(6)]
    assert classifiers == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.0, 0.01], rel=0.2)
    assert not any(conv.bias.any() for pair in convs for conv in pair)  # type: ignore[union-attr]


def test_the_4x4_model_sees_the_release_s_grids() -> None:
    """39 positions of a crop of 306 and a test net whose position i lies over pixel 8i - 7 of 514."""
    network = DeepLabV1(4, 3, 1, fc_channels=64, pool_size=2, pool5a=False).double().eval()
    images = torch.randn(1, 3, 146, 154, dtype=torch.float64)
    with torch.no_grad():
        logits, strided = network(images), network.forward_features(images)
    assert logits.shape == (1, 4, 146, 154)
    assert strided.shape == (1, 4, 19, 20)
    inside = slice(8, 11)  # where pool4's padding does not reach through conv5, pool5 and fc6
    torch.testing.assert_close(logits[..., 1::8, 1::8][..., inside, inside], strided[..., inside, inside])
    target = torch.arange(146 * 154).view(1, 146, 154)
    labels = decimate(target, (19, 20), network.logits_stride, network.grid_offset)
    assert torch.equal(labels, target[:, 1::8, 1::8])


def test_msc_needs_the_grid_of_3x3_poolings() -> None:
    with pytest.raises(ValueError, match="multi_scale.*pool_size.*2"):
        DeepLabV1(4, pool_size=2, multi_scale=True)
    with pytest.raises(ValueError, match="pool_size.*4"):
        DeepLabV1(4, pool_size=4)
