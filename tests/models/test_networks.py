"""One contract for all networks: v3, its cascade, v3+, Lite R-ASPP, the dense prediction cell, backbones by name."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.models.deeplab_v3_cascade import DeepLabV3Cascade
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.encoders import CLASSIFIER_HEADS, Encoder
from deeplab_lightning.models.imagenet import for_channels
from deeplab_lightning.models.layers import SegmentationNetwork, upsample
from deeplab_lightning.models.lraspp import LRASPP, LiteASPP
from deeplab_lightning.models.smp_network import SMPNetwork
from tests.thin import an_eighth_of_the_channels

Builder = Callable[[], SegmentationNetwork]
NETWORKS: dict[str, Builder] = {
    "v1 LargeFOV": lambda: DeepLabV1(5),
    "v1 4x4": lambda: DeepLabV1(5, 4, 4, 256),
    "v1 4x4 rate 8": lambda: DeepLabV1(5, 4, 8, 256),
    "v1 7x7": lambda: DeepLabV1(5, 7, 4, 128),
    "v1 MSc": lambda: DeepLabV1(5, fc_channels=256, multi_scale=True),
    "v2 vgg16": lambda: DeepLabV2(5, "vgg16", (2, 4, 8, 12)),
    "v2 resnet50": lambda: DeepLabV2(5, "resnet50", input_scales=(1, 0.75, 0.5)),
    "v3 block4": lambda: DeepLabV3Cascade(5, "resnet18", 4, multi_grid=(1, 2)),
    "v3 block7": lambda: DeepLabV3Cascade(5, "resnet50", 7, 8, multi_grid=(1, 2, 1), stride_unit="last"),
    "v3 block5 stride 64": lambda: DeepLabV3Cascade(5, "resnet18", 5, 64),
    "v3 resnet18": lambda: DeepLabV3(5, "resnet18"),
    "v3 resnet50 stride 8": lambda: DeepLabV3(
        5, "resnet50", 8, (12, 24, 36), multi_grid=(1, 2, 4), stem="three_conv3x3", stride_unit="last"
    ),
    "v3 without image pooling": lambda: DeepLabV3(5, "resnet18", image_pooling=False, align_corners=True),
    "v3+ resnet18": lambda: DeepLabV3Plus(5, "resnet18"),
    "v3+ resnet34 stride 32": lambda: DeepLabV3Plus(5, "resnet34", 32, (3, 6, 9), align_corners=True),
    "v3+ separable": lambda: DeepLabV3Plus(5, "resnet18", separable=True, decoder_convs=1, decoder_channels=128),
    "v3 light head": lambda: DeepLabV3(5, "mobilenet_v2", atrous_rates=()),
    "v3 conv3x3": lambda: DeepLabV3(5, "resnet18", stride_unit="first_dilated", aspp_conv3x3=True),
    "v3+ two joins": lambda: DeepLabV3Plus(5, "resnet18", decoder_strides=(8, 4), decoder_convs=1),
    "v3+ 1x1": lambda: DeepLabV3Plus(5, "resnet18", decoder_kernel_size=1),
    "v3+ smp's separable": lambda: DeepLabV3Plus(5, "smp-resnet18", separable=True, depthwise_norm=False),
    "v3+ xception41": lambda: DeepLabV3Plus(5, "xception41", separable=True, relu_after_depthwise=True),
    "v3+ xception71": lambda: DeepLabV3Plus(5, "xception71", 8, (12, 24, 36), separable=True),
    "v3+ mobilenet_v2": lambda: DeepLabV3Plus(5, "mobilenet_v2"),
    "v3+ mobilenet_v3": lambda: DeepLabV3Plus(5, "mobilenet_v3_large", stride_unit="first_dilated"),
    "v3+ dense prediction cell": lambda: DeepLabV3Plus(
        5, "xception41", atrous_rates=(), image_pooling=False, dense_prediction_cell=True, separable=True
    ),
    "v3+ mmsegmentation's": lambda: DeepLabV3Plus(
        5, "resnet50", stem="three_conv3x3_narrow", aspp_conv3x3="projection", separable=True
    ),
    "v3 smp's separable ASPP": lambda: DeepLabV3(
        5, "resnet18", aspp_separable=True, aspp_depthwise_norm=False, aspp_conv3x3=True
    ),
    "v3+ plain ASPP": lambda: DeepLabV3Plus(5, "resnet18", separable=True, plain_aspp=True, aspp_conv3x3=True),
    "v3 MobileNetV2 x0.5": lambda: DeepLabV3(
        5, "mobilenet_v2", atrous_rates=(), width_multiplier=0.5, batch_norm_eps=1e-3, strided_padding="same"
    ),
    "LR-ASPP large": lambda: LRASPP(5, strided_padding="same"),
    "LR-ASPP small": lambda: LRASPP(5, "mobilenet_v3_small_seg", 16, pooling_size=(5, 9), align_corners=False),
    "smp's U-Net": lambda: SMPNetwork(5, "unet", "resnet18"),
    "smp's FPN": lambda: SMPNetwork(5, "fpn", "resnet18"),
    "v3 smp's EfficientNet": lambda: DeepLabV3(5, "efficientnet-b0"),
    "v3+ timm's RegNet": lambda: DeepLabV3Plus(5, "tu-regnety_002", aspp_channels=64),
    "v3+ timm": lambda: DeepLabV3Plus(5, "tu-mobilenetv3_small_050", aspp_channels=64),
}
OF_FULL_WIDTH = {
    "v3 smp's EfficientNet",
    "v3+ timm's RegNet",
    "v3+ timm",
    "LR-ASPP large",
    "LR-ASPP small",
    "smp's FPN",
}
"""Networks that count on their width: encoders of others, and squeezed channels so few that all could be dead."""


@pytest.fixture(params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> SegmentationNetwork:
    thin = request.param not in OF_FULL_WIDTH
    with an_eighth_of_the_channels() if thin else nullcontext():
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
    """The image pooling branch has one value per channel then, which batch norm alone refuses.

    Several processes wait for the gradient of each that trains.
    """
    network.train()
    for name, parameter in network.named_parameters():
        if name.endswith("weight") and not parameter.any():  # through which nothing passes at first: MSc, RegNet
            torch.nn.init.normal_(parameter)
    for layer in network.modules():
        if hasattr(layer, "_drop_connect_rate"):  # of EfficientNet: a batch of one often misses a unit
            layer._drop_connect_rate = 0.0  # type: ignore[assignment]
    network(torch.randn(1, 3, 65, 65)).square().mean().backward()
    for name, parameter in network.named_parameters():
        if any(name.startswith(f"backbone.encoder.{head}.") for pair in CLASSIFIER_HEADS for head in pair):
            assert not parameter.requires_grad, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_parts_have_the_agreed_names(network: SegmentationNetwork) -> None:
    parts = {name for name, _ in network.named_children()}
    assert parts <= {"backbone", "aspp", "head", "decoder", "classifier"}
    assert {"backbone", "classifier"} <= parts


@pytest.mark.parametrize("size", [(3, 4), (7, 4), (3, 11), (7, 11)])
def test_lr_aspp_pools_over_windows_cut_to_the_map(size: tuple[int, int]) -> None:
    aspp = LiteASPP(2, 6, pooling_size=(5, 6), pooling_stride=(2, 3), align_corners=True).eval()
    features = torch.randn(2, 2, *size)
    means = F.avg_pool2d(features, (min(5, size[0]), min(6, size[1])), (2, 3))
    gate = upsample(F.hardsigmoid(aspp.gate(means)), size, align_corners=True)
    torch.testing.assert_close(aspp(features), aspp.branch(features) * gate)


OF_CHANNELS: dict[str, Callable[[int], SegmentationNetwork]] = {
    "v1 MSc": lambda channels: DeepLabV1(5, fc_channels=256, multi_scale=True, in_channels=channels),
    "v2 vgg16": lambda channels: DeepLabV2(5, "vgg16", (6, 12), in_channels=channels),
    "v2 resnet50": lambda channels: DeepLabV2(5, "resnet50", input_scales=(1, 0.5), in_channels=channels),
    "v3 block5": lambda channels: DeepLabV3Cascade(5, "resnet18", 5, in_channels=channels),
    "v3 three_conv3x3": lambda channels: DeepLabV3(5, "resnet18", stem="three_conv3x3", in_channels=channels),
    "v3+ xception41": lambda channels: DeepLabV3Plus(5, "xception41", in_channels=channels),
    "v3+ mobilenet_v2": lambda channels: DeepLabV3Plus(5, "mobilenet_v2", in_channels=channels),
    "v3+ mobilenet_v3": lambda channels: DeepLabV3Plus(5, "mobilenet_v3_large", in_channels=channels),
    "v3 smp's EfficientNet": lambda channels: DeepLabV3(5, "efficientnet-b0", in_channels=channels),
    "v3+ timm": lambda channels: DeepLabV3Plus(5, "tu-mobilenetv3_small_050", in_channels=channels),
}


@pytest.mark.parametrize("name", OF_CHANNELS)
def test_weights_for_rgb_give_a_grey_image_the_same_logits_in_any_number_of_channels(name: str) -> None:
    build, grey = OF_CHANNELS[name], torch.randn(1, 1, 49, 33)
    with nullcontext() if name in OF_FULL_WIDTH else an_eighth_of_the_channels():
        networks = {channels: build(channels).eval() for channels in (3, 1, 2, 4, 7)}
    with torch.no_grad():
        expected = networks[3](grey.expand(-1, 3, -1, -1))
        for channels, network in networks.items():
            network.load_state_dict(for_channels(networks[3].state_dict(), network.state_dict()))
            assert network.in_channels == channels
            found = network(grey.expand(-1, channels, -1, -1))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 + 1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DeepLabV3(1), "num_classes.*got 1"),
        (lambda: DeepLabV1(5, fc_channels=1000), "fc_channels.*1000"),
        (lambda: DeepLabV1(5, kernel_size=4, rate=3), "kernel_size 4.*rate 3"),
        (lambda: DeepLabV1(5, kernel_size=9, rate=4), "fc6.*got 9 and 4"),
        (lambda: DeepLabV2(5, "vgg19"), "backbone.*'vgg19'"),
        (lambda: DeepLabV2(5, "vgg16", ()), r"atrous_rates.*\(\)"),
        (lambda: DeepLabV2(5, "vgg16", input_scales=(0.5, 1)), r"input_scales.*\(0.5, 1\)"),
        (lambda: DeepLabV3(5, "resnet18", atrous_rates=(), image_pooling=False), r"atrous_rates.*\(\)"),
        (lambda: DeepLabV3(5, "resnet18", 12), r"output_stride.*\[8, 16, 32\].*12"),
        (lambda: DeepLabV3(5, "xception65", stride_unit="last"), "stride_unit 'last'.*xception65"),
        (
            lambda: DeepLabV3(5, "resnet18", relu_after_depthwise=True),
            "relu_after_depthwise.*'resnet18'",
        ),
        (lambda: DeepLabV3Cascade(5, "resnet18", 8), "num_blocks.*8"),
        (lambda: DeepLabV3Cascade(5, "xception65"), "backbone.*xception65"),
        (lambda: DeepLabV3Plus(5, "xception65", 4), "output_stride.*4"),
        (lambda: DeepLabV3Plus(5, "mobilenet_v2", 64), "output_stride.*64"),
        (lambda: DeepLabV3Plus(5, "resnet18", depthwise_norm=False), "depthwise_norm.*separable"),
        (lambda: DeepLabV3Plus(5, "resnet18", decoder_kernel_size=2), "decoder_kernel_size.*2"),
        (lambda: DeepLabV3Plus(5, "resnet18", decoder_strides=(4, 8)), r"decoder_strides.*\[4, 8\]"),
        (lambda: DeepLabV3(5, "smp-mobilenet_v2", 12), "output_stride.*12"),
        (lambda: DeepLabV3Plus(5, "resnet18", decoder_convs=0), "decoder_convs.*0"),
        (lambda: DeepLabV3Plus(5, "mobilenet_v2", multi_grid=(1, 2, 4)), "multi_grid.*mobilenet_v2"),
        (lambda: DeepLabV3(5, "resnet18", strided_padding="same"), "strided_padding.*'resnet18'"),
        (lambda: DeepLabV3(5, "resnet18", stem="two"), "stem.*'two'"),
        (lambda: DeepLabV3(5, "resnet18", aspp_conv3x3="before"), "aspp_conv3x3.*'before'"),
        (lambda: DeepLabV3(5, "resnet18", dense_prediction_cell=True), "atrous_rates.*dense prediction cell"),
        (
            lambda: DeepLabV3(5, "resnet18", 32, (), image_pooling=False, dense_prediction_cell=True),
            "output_stride.*32",
        ),
        (lambda: DeepLabV3(5, "resnet18", aspp_depthwise_norm=False), "depthwise_norm.*separable"),
        (lambda: DeepLabV3Plus(5, "resnet18", plain_aspp=True), "plain_aspp.*separable"),
        (lambda: LRASPP(5, pooling_size=(0, 25)), r"pooling_size.*\[0, 25\]"),
        (lambda: LRASPP(5, pretrained=True), "mobilenet_v3_large_seg"),
        (lambda: SMPNetwork(5, "unett"), "'unett'"),
        (lambda: SMPNetwork(5, "unet", "resnet51"), "'resnet51'"),
        (lambda: DeepLabV3Plus(5, "resnet51"), "backbone 'resnet51'"),
        (lambda: DeepLabV3Plus(5, "vgg16", 16), "backbone 'vgg16'"),
    ],
)
def test_invalid_settings_are_refused(build: Builder, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_an_encoder_of_others_takes_its_weights_for_rgb_to_other_channels() -> None:
    kernels = []
    for channels in (3, 4):
        torch.manual_seed(0)
        (kernel,) = [value for value in Encoder("resnet18", in_channels=channels).parameters() if value.shape[-1] == 7]
        kernels.append(kernel)
    assert torch.equal(kernels[1], kernels[0][:, [0, 1, 2, 0]] / torch.tensor([2, 1, 1, 2])[:, None, None])


def test_layers_of_smp_that_do_not_act_on_the_logits_do_not_train() -> None:
    """PSPNet uses the first three of the encoder's five stages."""
    network = SMPNetwork(5, "pspnet", "resnet18", architecture_settings={"decoder_use_norm": False})
    network(torch.randn(1, 3, 64, 64)).square().mean().backward()
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert not any(name.startswith("backbone.layer4") for name in trained)
    assert "backbone.layer1.0.conv1.weight" in trained
