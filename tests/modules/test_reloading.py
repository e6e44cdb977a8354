"""A module's settings are those of its network: as dumped, as hyperparameters, in checkpoints and in the help."""

import re
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.deeplab_v3 import DeepLabV3, DeepLabV3Encoder
from deeplab_lightning.models.deeplab_v3_cascade import DeepLabV3Cascade
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.encoders import build_backbone
from deeplab_lightning.models.lraspp import LRASPP
from deeplab_lightning.models.resnet import ResNet
from deeplab_lightning.models.smp_network import SMPNetwork
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v1 import DeepLabV1Module
from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.deeplab_v3_cascade import DeepLabV3CascadeModule
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from deeplab_lightning.modules.lraspp import LRASPPModule
from deeplab_lightning.modules.smp_network import SMPModule

# Every signature that the arguments of a module's network come from, the outermost last, and what the network fixes
NETWORKS: dict[type[SegmentationModule], tuple[tuple[Any, ...], set[str]]] = {
    DeepLabV1Module: ((DeepLabV1,), set()),
    DeepLabV2Module: ((DeepLabV2,), set()),
    DeepLabV3Module: ((build_backbone, DeepLabV3Encoder, DeepLabV3), {"low_level_features"}),
    DeepLabV3CascadeModule: ((ResNet, DeepLabV3Cascade), {"low_level_features"}),
    LRASPPModule: ((build_backbone, LRASPP), set()),
    SMPModule: ((SMPNetwork,), set()),
    DeepLabV3PlusModule: ((build_backbone, DeepLabV3Encoder, DeepLabV3Plus), set()),
}
MODULES = list(NETWORKS)
FROM_THE_DATA = {"num_classes", "class_names", "in_channels"}


def defaults(module: type[SegmentationModule]) -> dict[str, Any]:
    """The defaults of the training's arguments and of the network's, as the signatures say them."""
    signatures, fixed = NETWORKS[module]
    found: dict[str, Any] = {}
    for source in (SegmentationModule, *signatures):
        parameters = signature(source).parameters.values()
        found |= {each.name: each.default for each in parameters if each.default is not Parameter.empty}
    return {name: plain(value) for name, value in found.items() if name not in fixed}


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:  # jsonargparse's way to end after help and a printed config
        main(["fit", "--data", "ShapesDataModule", *options])
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("module", MODULES)
def test_the_dumped_defaults_are_those_of_the_signatures(
    module: type[SegmentationModule], capsys: pytest.CaptureFixture[str]
) -> None:
    dumped = yaml.safe_load(printed(capsys, "--model", module.__name__, "--print_config"))
    assert dumped["model"]["class_path"].endswith(f".{module.__name__}")
    expected = defaults(module)
    assert dumped["model"]["init_args"] == {name: expected[name] for name in expected if name not in FROM_THE_DATA}


@pytest.mark.parametrize("module", MODULES)
def test_hyperparameters_are_flat_and_complete(module: type[SegmentationModule]) -> None:
    with torch.device("meta"):
        built = module(4, lr=0.5, align_corners=True)
    expected = defaults(module) | {"num_classes": 4, "lr": 0.5, "align_corners": True}
    for hparams in (built.hparams, built.hparams_initial):  # loggers read the second
        assert {name: plain(value) for name, value in hparams.items()} == expected


@pytest.mark.parametrize("module", MODULES)
def test_help_describes_every_argument(module: type[SegmentationModule], capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(printed(capsys, f"--model.help={module.__name__}").partition("Help for")[2].split())
    entries = re.split(r" (?=--model\.\w+ [A-Z{\[])", text)[1:]
    described = {entry.split()[0].removeprefix("--model."): entry for entry in entries}
    assert set(described) >= set(defaults(module))
    for name, entry in described.items():
        assert re.match(r"--model\S+ \S+(, --model\S+ \S+)? [A-Z]", entry), f"{name} has no description: {entry}"


@pytest.mark.parametrize("asked", [["--model.help=DeepLabV3PlusModule"], ["--model.help", "DeepLabV3PlusModule"]])
def test_help_has_the_words_of_the_network(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(printed(capsys, *asked).split())
    for source in ("Learning rate at the start", "Rates of the ASPP", "Stem of a ResNet", "the decoder's convolutions"):
        assert source in text


def test_a_name_that_no_network_has_is_refused() -> None:
    with pytest.raises(TypeError, match="backbon"):
        DeepLabV3Module(4, backbon="resnet18")
    with pytest.raises(TypeError, match="low_level_features"):
        DeepLabV3Module(4, low_level_features="conv3")


def test_a_checkpoint_brings_its_network_back(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"backbone": "resnet18", "output_stride": 32, "aspp_channels": 16, "separable": True}
    module = DeepLabV3PlusModule(4, decoder_channels=8, **settings)
    checkpoint = {"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict(), "global_step": 7}
    checkpoint["pytorch-lightning_version"] = "2.6.0"
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    again = SegmentationModule.load_from_checkpoint(tmp_path / "last.ckpt", flip=True)
    assert isinstance(again, DeepLabV3PlusModule)
    assert again.network.output_stride == 32
    assert dict(again.hparams) == dict(module.hparams) | {"flip": True}
    for name, value in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    with pytest.raises(ValueError, match="holds a DeepLabV3PlusModule, but a DeepLabV3Module"):
        DeepLabV3Module.load_from_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(TypeError, match="backbon"):
        SegmentationModule.load_from_checkpoint(tmp_path / "last.ckpt", backbon="resnet18")
