"""Differences between imported networks and those of their sources, as the table of experiments/results/published.md.

    PYTHONPATH=. python experiments/benchmarks/published.py DATA --vainf CLONE --jfzhang95 CLONE --kazuto1011 CLONE

DATA holds `checkpoints/`, with the cases of the TensorFlow release; a clone is that of the project's repository.
torchvision and segmentation-models-pytorch are run as they are installed. Weights are random everywhere.
"""

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deeplab_lightning.published.importing import Imported
from deeplab_lightning.published.jfzhang95 import from_jfzhang95
from deeplab_lightning.published.kazuto1011 import from_kazuto1011
from deeplab_lightning.published.mmsegmentation import from_mmsegmentation
from deeplab_lightning.published.smp import from_smp_config
from deeplab_lightning.published.tensorflow import from_tensorflow
from deeplab_lightning.published.torchvision import from_torchvision
from deeplab_lightning.published.transformers import from_transformers
from deeplab_lightning.published.vainf import from_vainf
from tests.published import samples, test_tensorflow, test_transformers

SIZES = ((65, 97), (64, 96))
MMSEGMENTATION: dict[str, tuple[Any, bool]] = {
    "v3plus_r50_d8": (8, False),
    "v3_r50_d8": (8, False),
    "v3plus_r101b_d16_mg124": (16, True),
}
SMP: list[dict[str, Any]] = [
    {"_model_class": "DeepLabV3", "encoder_name": "resnet18"},
    {"_model_class": "DeepLabV3", "encoder_name": "resnet18", "decoder_aspp_separable": True},
    {"_model_class": "DeepLabV3Plus", "encoder_name": "resnet50"},
    {"_model_class": "DeepLabV3Plus", "encoder_name": "resnet18", "decoder_aspp_separable": False},
    {"_model_class": "DeepLabV3Plus", "encoder_name": "efficientnet-b0"},
]


class Row(NamedTuple):
    """A comparison.

    Args:
        source: Name of the source.
        network: Name of the network.
        against: What gave the expected logits.
        difference: Largest difference of two logits.
        spread: Largest minus smallest expected logit.
        used: Number of tensors that the network holds.
        ignored: Number of tensors that were left out.
    """

    source: str
    network: str
    against: str
    difference: float
    spread: float
    used: int
    ignored: int


def compare(
    source: str, network: str, against: str, imported: Imported[Any], pairs: list[tuple[Tensor, Tensor]]
) -> Row:
    """Return the row of pairs of expected and imported logits."""
    difference = max(float((expected - logits).abs().max()) for expected, logits in pairs)
    spread = max(float(expected.max() - expected.min()) for expected, _ in pairs)
    return Row(source, network, against, difference, spread, len(imported.used), len(imported.ignored))


def with_drawn_weights(network: nn.Module) -> nn.Module:
    """Give a network the weights that its names draw."""
    state = network.state_dict()
    drawn = {key: samples.drawn(key, tuple(value.shape)) for key, value in state.items() if value.is_floating_point()}
    network.load_state_dict(drawn, strict=False)
    return network.eval()


def run(source: str, name: str, reference: nn.Module, imported: Imported[Any]) -> Row:
    """Run the source's own network and the imported one on images with odd and with even sides."""
    pairs = []
    with torch.no_grad():
        for size in SIZES:
            pixels = samples.images(*size)
            expected = reference(pixels)
            expected = expected["out"] if isinstance(expected, dict) else expected
            pairs.append((expected, imported.network(pixels, expected.shape[2:])))
    return compare(source, name, "its code", imported, pairs)


def tensorflow(data: Path) -> Iterator[Row]:
    """The release's networks, whose own code gave the stored logits."""
    expected = test_tensorflow.expected_logits(data)
    for cases in (test_tensorflow.cases(data), test_tensorflow.prediction_cells(data)):
        for name, case, variables, image in cases:
            imported = from_tensorflow(variables, case["output_stride"])
            pixels = torch.from_numpy(image.transpose(0, 3, 1, 2)) * 2 / 255 - 1
            with torch.no_grad():
                logits = imported.network.forward_features(pixels)
            kept = torch.from_numpy(expected[name].transpose(0, 3, 1, 2))
            step = (logits.shape[2] - 1) // (kept.shape[2] - 1)
            pairs = [(kept, logits[:, :, ::step, ::step])]
            yield compare("TensorFlow release", name, "stored logits of its code", imported, pairs)


def stored() -> Iterator[Row]:
    """The networks of mmsegmentation and transformers, whose own code gave the stored logits."""
    for name, (output_stride, align_corners) in MMSEGMENTATION.items():
        sample = samples.read(f"mmsegmentation_{name}")
        imported: Imported[Any] = from_mmsegmentation(sample.tensors(), output_stride, align_corners)
        yield sampled("mmsegmentation", name, sample, imported)
    sample = samples.read("transformers_mobilenet_v2")
    imported = from_transformers(test_transformers.CONFIG, sample.tensors())
    yield sampled("transformers", "deeplabv3_mobilenet_v2", sample, imported)


def sampled(source: str, name: str, sample: samples.Sample, imported: Imported[Any]) -> Row:
    """Return the row of a sample."""
    with torch.no_grad():
        logits = imported.network.forward_features(sample.images)
    return compare(source, name, "stored logits of its code", imported, [(sample.logits, logits)])


def installed() -> Iterator[Row]:
    """The networks of torchvision and segmentation-models-pytorch."""
    import segmentation_models_pytorch as smp
    from torchvision.models import segmentation

    for name in ("deeplabv3_resnet50", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"):
        build = getattr(segmentation, name)
        network = with_drawn_weights(build(weights=None, weights_backbone=None, num_classes=21, aux_loss=True))
        yield run("torchvision", name, network, from_torchvision(name, network.state_dict()))
    for options in SMP:
        config = options | {"classes": 5}
        kind = getattr(smp, config["_model_class"])
        arguments = {key: value for key, value in config.items() if key != "_model_class"}
        network = with_drawn_weights(kind(encoder_weights=None, **arguments))
        imported = from_smp_config(config, network.state_dict())
        separable = {None: "", True: ", separable ASPP", False: ", plain ASPP"}[options.get("decoder_aspp_separable")]
        yield run_even("smp", f"{options['_model_class']}, {options['encoder_name']}{separable}", network, imported)


def run_even(source: str, name: str, reference: nn.Module, imported: Imported[Any]) -> Row:
    """Run networks that take sides of multiples of their output stride only."""
    pixels = samples.images(64, 96)
    with torch.no_grad():
        pairs = [(reference(pixels), imported.network(pixels))]
    return compare(source, name, "its code", imported, pairs)


def imported_from(folder: Path, name: str) -> Any:
    """Import a module of a clone."""
    sys.path.insert(0, str(folder))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(folder))


def vainf(folder: Path) -> Iterator[Row]:
    """The ResNets of VainF/DeepLabV3Plus-Pytorch."""
    modeling = imported_from(folder, "network.modeling")
    for name in ("deeplabv3_resnet50", "deeplabv3plus_resnet50", "deeplabv3plus_resnet101"):
        network = getattr(modeling, name)(num_classes=21, output_stride=16, pretrained_backbone=False)
        network = with_drawn_weights(network)
        yield run("VainF", name, network, from_vainf(network.state_dict()))


def jfzhang95(folder: Path) -> Iterator[Row]:
    """The ResNet-101 of jfzhang95/pytorch-deeplab-xception."""
    resnet = imported_from(folder, "modeling.backbone.resnet")
    resnet.ResNet._load_pretrained_model = lambda _: None  # it would download
    build = imported_from(folder, "modeling.deeplab").DeepLab
    network = with_drawn_weights(build(backbone="resnet", output_stride=16, num_classes=21, sync_bn=False))
    yield run("jfzhang95", "deeplab-resnet", network, from_jfzhang95(network.state_dict()))


def kazuto1011(folder: Path) -> Iterator[Row]:
    """DeepLab v2 of kazuto1011/deeplab-pytorch, with and without multi-scale inputs; its logits are not upsampled.

    The project was written for torch before 1.6, which resized by the sizes of the maps; later ones use the factor.
    The two agree on sides that are multiples of 4.
    """
    models = imported_from(folder, "libs.models")
    builds: dict[Any, Any] = {
        "deeplabv2_resnet101": lambda: models.DeepLabV2(21, [3, 4, 23, 3], [6, 12, 18, 24]),
        "deeplabv2_resnet101_msc": lambda: models.DeepLabV2_ResNet101_MSC(21),
    }
    for name, build in builds.items():
        network = with_drawn_weights(build())
        imported = from_kazuto1011(name, network.state_dict())
        pixels = samples.images(64, 96)
        with torch.no_grad():
            pairs = [(network(pixels), imported.network.forward_features(pixels))]
        yield compare("kazuto1011", name, "its code", imported, pairs)


def main() -> None:
    """Compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    clones = {"vainf": vainf, "jfzhang95": jfzhang95, "kazuto1011": kazuto1011}
    for name in clones:
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    print("| source | network | compared with | largest difference | of a spread of | tensors used | ignored |")
    print("|---|---|---|---|---|---|---|")
    rows = [tensorflow(given.data), stored(), installed()]
    rows += [compared(getattr(given, name)) for name, compared in clones.items() if getattr(given, name)]
    for group in rows:
        for row in group:
            difference, spread = f"{row.difference:.1e}", f"{row.spread:.3g}"
            cells = (row.source, row.network, row.against, difference, spread, row.used, row.ignored)
            print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
