"""The scopes of the TensorFlow release's networks, and the layers here that take their variables."""

from collections.abc import Iterator

from deeplab_lightning.models.dense_prediction_cell import BRANCHES
from deeplab_lightning.models.mobilenet_blocks import STEM_CHANNELS, V3_BLOCKS, v2_blocks
from deeplab_lightning.models.resnet import UNITS
from deeplab_lightning.models.xception import FLOWS

Place = tuple[str, str]
"""The target of a scope: the names of a convolution and of its batch norm; "" stands for no batch norm."""
Places = Iterator[tuple[str, Place]]


def aspp_places(num_rates: int, separable: bool) -> Places:
    """Yield the scopes of the ASPP; the release's first branch, image pooling, is the last here."""
    pooling = f"aspp.branches.{num_rates + 1}"
    yield "image_pooling", (f"{pooling}.conv", f"{pooling}.bn")
    yield "aspp0", ("aspp.branches.0.0", "aspp.branches.0.1")
    for branch in range(1, num_rates + 1):
        yield from _conv3x3(f"aspp{branch}", f"aspp.branches.{branch}", separable)
    yield "concat_projection", ("aspp.project.0", "aspp.project.1")


def cell_places() -> Places:
    """Yield the scopes of the dense prediction cell."""
    for index in range(len(BRANCHES)):
        yield from _conv3x3(f"meta_architecture/branch{index}", f"aspp.branches.{index}", separable=True)
    yield "meta_architecture/concat_projection", ("aspp.project.0", "aspp.project.1")


def decoder_places() -> Places:
    """Yield the scopes of v3+'s decoder."""
    yield "decoder/feature_projection0", ("decoder.reduce.0.0", "decoder.reduce.0.1")
    for number in (0, 1):
        yield from _conv3x3(f"decoder/decoder_conv{number}", f"decoder.refine.0.{number}", separable=True)


def lraspp_places() -> Places:
    """Yield the scopes of Lite R-ASPP and its two classifiers."""
    yield "aspp0", ("aspp.branch.0", "aspp.branch.1")
    yield "image_pooling", ("aspp.gate", "")
    yield "decoder/decoder_conv0", ("classifier.0", "")
    yield "decoder/feature_projection0", ("classifier.1", "")


def _conv3x3(scope: str, name: str, separable: bool) -> Places:
    if separable:
        yield f"{scope}_depthwise", (f"{name}.0", f"{name}.1")
        yield f"{scope}_pointwise", (f"{name}.3", f"{name}.4")
    else:
        yield scope, (f"{name}.0", f"{name}.1")


def xception_places(depth: int) -> Places:
    """Yield the scopes of an Xception."""
    root = f"xception_{depth}"
    for number in (1, 2):
        yield f"{root}/entry_flow/conv1_{number}", _conv_bn(f"backbone.stem.{number - 1}")
    num_entry = len(FLOWS[depth][0])
    blocks = [f"entry_flow/block{number}/unit_1" for number in range(1, num_entry + 1)]
    blocks += [f"middle_flow/block1/unit_{number}" for number in range(1, FLOWS[depth][2] + 1)]
    blocks += [f"exit_flow/block{number}/unit_1" for number in (1, 2)]
    for index, block in enumerate(blocks):
        scope, name = f"{root}/{block}/xception_module", f"backbone.blocks.{index}"
        yield f"{scope}/shortcut", _conv_bn(f"{name}.shortcut")
        for number in (1, 2, 3):
            unit = f"{name}.stack.conv{number}"
            yield f"{scope}/separable_conv{number}_depthwise", (f"{unit}.conv_dw", f"{unit}.bn_dw")
            yield f"{scope}/separable_conv{number}_pointwise", (f"{unit}.conv_pw", f"{unit}.bn_pw")


def _conv_bn(name: str) -> Place:
    return f"{name}.conv", f"{name}.bn"


def resnet_places(depth: int) -> Places:
    """Yield the scopes of a "beta" ResNet."""
    root = f"resnet_v1_{depth}"
    for number, place in enumerate((("0", "1"), ("3", "4")), 1):
        yield f"{root}/conv1_{number}", (f"backbone.conv1.{place[0]}", f"backbone.conv1.{place[1]}")
    yield f"{root}/conv1_3", ("backbone.conv1.6", "backbone.bn1")
    for block, num_units in enumerate(UNITS[depth], 1):
        for unit in range(num_units):
            scope = f"{root}/block{block}/unit_{unit + 1}/bottleneck_v1"
            name = f"backbone.layer{block}.{unit}"
            yield f"{scope}/shortcut", (f"{name}.downsample.0", f"{name}.downsample.1")
            for number in (1, 2, 3):
                yield f"{scope}/conv{number}", (f"{name}.conv{number}", f"{name}.bn{number}")


def mobilenet_places(name: str) -> Places:
    """Yield the scopes of a MobileNet; V2 has the two layers of a projection side by side, V3 in a Sequential."""
    version = 2 if name == "mobilenet_v2" else 3
    root, part = ("MobilenetV2", "conv") if version == 2 else ("MobilenetV3", "block")
    blocks, in_channels = v2_blocks(1) if version == 2 else V3_BLOCKS[name], STEM_CHANNELS[version]
    yield f"{root}/Conv", ("backbone.features.0.0", "backbone.features.0.1")
    for index, block in enumerate(blocks):
        scope = f"{root}/expanded_conv{f'_{index}' if index else ''}"
        own, number = f"backbone.features.{index + 1}.{part}", 0
        if block.expanded != in_channels:
            yield f"{scope}/expand", (f"{own}.0.0", f"{own}.0.1")
            number = 1
        yield f"{scope}/depthwise", (f"{own}.{number}.0", f"{own}.{number}.1")
        if block.squeeze:
            number += 1
            yield f"{scope}/squeeze_excite/Conv", (f"{own}.{number}.fc1", "")
            yield f"{scope}/squeeze_excite/Conv_1", (f"{own}.{number}.fc2", "")
        project = (f"{number + 1}", f"{number + 2}") if version == 2 else (f"{number + 1}.0", f"{number + 1}.1")
        yield f"{scope}/project", (f"{own}.{project[0]}", f"{own}.{project[1]}")
        in_channels = block.channels
    if version == 3:
        last = f"backbone.features.{len(blocks) + 1}"
        yield f"{root}/Conv_1", (f"{last}.0", f"{last}.1")
