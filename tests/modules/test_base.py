"""The base module: its checks, loss, frozen parts, optimizer, evaluation identity, and the guards of batch norm."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from deeplab_lightning.datasets.transforms import EvaluationTransform
from deeplab_lightning.losses.decimation import decimate
from deeplab_lightning.losses.regions import Dice
from deeplab_lightning.losses.weighted_sum import Focal
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v1 import DeepLabV1Module
from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from tests.models.test_networks import NETWORKS


class NamedModule(SegmentationModule):
    """A module of the network of that name in the networks' own tests."""

    def configure_network(self, num_classes: int, *, name: str) -> SegmentationNetwork:  # type: ignore[override]
        with torch.device("meta"):
            return NETWORKS[name]()


@pytest.mark.parametrize("name", list(NETWORKS))
def test_groups_hold_every_parameter_that_trains_once(name: str) -> None:
    module = NamedModule(5, name=name)
    grouped = [parameter for group in module.parameter_groups() for parameter in group["params"]]
    assert len({id(parameter) for parameter in grouped}) == len(grouped)
    trained = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
    assert {id(parameter) for parameter in grouped} == trained


def test_rates_and_decay_by_part_and_kind() -> None:
    module = DeepLabV3PlusModule(
        4, backbone="resnet18", lr=0.1, weight_decay=0.5, bias_lr_multiplier=2, lr_multipliers={"classifier": 10}
    )
    groups = {group["name"]: group for group in module.parameter_groups()}
    assert groups["backbone/weights"]["lr"] == 0.1
    assert groups["backbone/weights"]["weight_decay"] == 0.5
    assert groups["backbone/norms"]["weight_decay"] == 0
    assert groups["classifier/weights"]["lr"] == 1.0
    assert groups["classifier/biases"]["lr"] == 2.0
    assert groups["classifier/biases"]["weight_decay"] == 0
    assert all(parameter.ndim == 4 for parameter in groups["decoder/weights"]["params"])
    norms = sum(
        isinstance(layer, nn.BatchNorm2d)
        for name, layer in module.network.named_modules()
        if name.startswith("backbone")
    )
    assert len(groups["backbone/norms"]["params"]) == 2 * norms


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="lr_multipliers.*'fc8'.*'aspp', 'backbone'"):
        DeepLabV3Module(4, backbone="resnet18", lr_multipliers={"fc8": 10.0}).parameter_groups()
    with pytest.raises(ValueError, match="num_classes is 4.* 2 class_names"):
        DeepLabV3Module(4, backbone="resnet18", class_names=["a", "b"])
    with pytest.raises(ValueError, match="num_classes is 4.* 1 class_weights"):
        DeepLabV3Module(4, backbone="resnet18", class_weights=[1.0])
    with pytest.raises(ValueError, match="optimizer.*'adam'"):
        DeepLabV3Module(4, backbone="resnet18", optimizer="adam")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="poly_power.*step_size.*0.9 and 10"):
        DeepLabV3Module(4, backbone="resnet18", step_size=10)
    with pytest.raises(ValueError, match="freeze_batch_norm.*DeepLabV1"):
        DeepLabV1Module(4, fc_channels=32, freeze_batch_norm=True)
    with pytest.raises(ValueError, match="frozen.*'fc6'.*'backbone', 'head'"):
        DeepLabV1Module(4, fc_channels=32, frozen=["fc6"])
    with pytest.raises(ValueError, match="nothing to train"):
        DeepLabV1Module(4, fc_channels=32, frozen=["backbone", "head", "classifier"]).parameter_groups()
    with pytest.raises(ValueError, match="crf_rnn.*upsample_logits"):
        DeepLabV1Module(4, fc_channels=32, crf_rnn=True, upsample_logits=False)
    with pytest.raises(ValueError, match=r"scales.*\(\)"):
        DeepLabV3Module(4, backbone="resnet18", scales=[])


OUT_OF_RANGE: list[dict[str, Any]] = [
    {"lr": -1.0},
    {"lr": 0.0},
    {"momentum": 1.0},
    {"weight_decay": -1.0},
    {"bias_lr_multiplier": -1.0},
    {"lr_multipliers": {"aspp": -1.0}},
    {"poly_power": -1.0},
    {"poly_power": None, "step_size": 0},
    {"batch_norm_momentum": 3.0},
    {"batch_norm_momentum": 0.0},
    {"class_weights": [0.0] * 4},
    {"class_weights": [-1.0, 1.0, 1.0, 1.0]},
]


@pytest.mark.parametrize("setting", OUT_OF_RANGE, ids=str)
def test_numbers_out_of_range_are_refused_by_name(setting: dict[str, Any]) -> None:
    """Torch accepts most of them, and the training fails later or not at all."""
    with pytest.raises(ValueError, match=f"^{list(setting)[-1]}.*got "):
        DeepLabV1Module(4, fc_channels=32, **setting)


def test_evaluation_uses_scales_and_flip() -> None:
    images = torch.randn(1, 3, 33, 49)
    module = DeepLabV3Module(4, backbone="resnet18", scales=[0.5, 1.0], flip=True).eval()
    with torch.no_grad():
        mirrored = module.evaluation_logits(images.flip(3)).flip(3)
        torch.testing.assert_close(module.evaluation_logits(images), mirrored, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(module(images), module.evaluation_logits(images), atol=1e-4)


def test_hyperparameters_are_plain() -> None:
    module = DeepLabV3Module(4, backbone="resnet18", class_weights=[1.0] * 4)
    assert module.hparams["backbone"] == "resnet18"
    assert module.hparams["lr"] == 0.007
    assert module.hparams["class_weights"] == [1.0] * 4
    assert "class_weights" not in module.state_dict()


def test_checkpoints_that_do_not_fit_are_refused() -> None:
    module = DeepLabV3Module(4, backbone="resnet18")
    with pytest.raises(ValueError, match="5 classes.* 4"):
        module.on_load_checkpoint({"hyper_parameters": {"num_classes": 5}, "global_step": 1})
    other = DeepLabV3Module(4, backbone="resnet34", lr=0.1)
    checkpoint = {"hyper_parameters": dict(other.hparams), "state_dict": other.state_dict(), "global_step": 1}
    with pytest.raises(ValueError, match="network.backbone.*resnet34 there, resnet18"):
        module.on_load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match="another network"):
        module.on_load_checkpoint({"state_dict": {}})
    other.on_load_checkpoint(checkpoint)
    four = DeepLabV3Module(4, backbone="resnet34", in_channels=4)
    with pytest.raises(ValueError, match="images of 3 channels.* 4"):
        four.on_load_checkpoint(checkpoint)
    assert other.weights_origin == "of step 1"


def test_depthwise_weights_do_not_decay() -> None:
    groups = {
        group["name"]: group
        for group in DeepLabV3PlusModule(4, backbone="resnet18", separable=True, weight_decay=0.5).parameter_groups()
    }
    assert groups["decoder/depthwise"]["weight_decay"] == 0
    assert all(parameter.shape[1] == 1 for parameter in groups["decoder/depthwise"]["params"])
    assert groups["decoder/weights"]["weight_decay"] == 0.5


def warned(
    module: DeepLabV3Module,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int = 16,
    world_size: int = 1,
    steps: int = 500,
) -> list[warnings.WarningMessage]:
    """Return the warnings at the start of a training of some steps, each on two batches."""
    data = SimpleNamespace(batch_size=batch_size)
    trainer = SimpleNamespace(
        datamodule=data, world_size=world_size, estimated_stepping_batches=steps, accumulate_grad_batches=2
    )
    monkeypatch.setattr(type(module), "trainer", trainer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module.on_train_start()
    return caught


@pytest.mark.parametrize(
    ("world_size", "synchronised", "counted"), [(1, False, 8), (2, False, 4), (2, True, 8), (4, False, 2)]
)
def test_batch_norm_counts_the_images_that_share_statistics(
    monkeypatch: pytest.MonkeyPatch, world_size: int, synchronised: bool, counted: int
) -> None:
    module = DeepLabV3Module(4, backbone="resnet18")
    if synchronised:
        module.network = nn.SyncBatchNorm.convert_sync_batchnorm(module.network)  # type: ignore[no-untyped-call]
    caught = warned(module, monkeypatch, batch_size=8, world_size=world_size)
    assert f"batch norm trains on {counted} images at a time" in str(caught[0].message)
    assert not warned(module, monkeypatch, batch_size=12 * world_size, world_size=world_size)


@pytest.mark.parametrize(
    ("settings", "steps", "share"),
    [
        ({"batch_norm_momentum": 0.0003}, 1000, "55%"),
        ({"batch_norm_momentum": 0.0003}, 15_000, None),  # the papers' protocol
        ({"batch_norm_momentum": 0.1}, 5, "35%"),
        ({"batch_norm_momentum": 0.1}, 200, None),
        ({"batch_norm_momentum": 0.0003, "freeze_batch_norm": True}, 10, None),
    ],
)
def test_statistics_that_cannot_settle_give_a_warning(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], steps: int, share: str | None
) -> None:
    caught = warned(DeepLabV3Module(4, backbone="resnet18", **settings), monkeypatch, steps=steps)
    assert len(caught) == (share is not None)
    if share is not None:
        assert f"after {2 * steps} batches" in str(caught[0].message)
        assert f"{share} of batch norm's running statistics" in str(caught[0].message)


def checkpoint_of(module: SegmentationModule, *absent: str) -> dict[str, Any]:
    """A checkpoint of a module, as it was before it had some hyperparameters."""
    hparams = {name: value for name, value in module.hparams.items() if name not in absent}
    return {"hyper_parameters": hparams, "state_dict": module.state_dict(), "global_step": 1}


def test_weights_trained_with_other_poolings_are_refused() -> None:
    """No shape tells a trunk of 2x2 poolings from one of 3x3; older checkpoints have 3x3 and pool5a."""
    module = DeepLabV1Module(4, fc_channels=32, pool_size=2, pool5a=False)
    module.on_load_checkpoint(checkpoint_of(module))
    with pytest.raises(ValueError, match="pool_size 3 there, 2 here; pool5a True there, False here"):
        module.on_load_checkpoint(checkpoint_of(module, "pool_size", "pool5a"))
    before = DeepLabV1Module(4, fc_channels=32)
    before.on_load_checkpoint(checkpoint_of(before, "pool_size", "pool5a"))


def test_weights_trained_with_other_strides_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "last.ckpt")
    torch.save(checkpoint_of(DeepLabV2Module(4, backbone="resnet50"), "stride_unit"), path)
    with pytest.raises(ValueError, match="stride_unit first_1x1 there, first here"):
        DeepLabV2Module(4, backbone="resnet50", stride_unit="first", start_from=path)
    DeepLabV2Module(4, backbone="resnet50", start_from=path)


def test_msc_starts_from_a_trunk_of_other_poolings(tmp_path: Path) -> None:
    path = str(tmp_path / "last.ckpt")
    torch.save(checkpoint_of(DeepLabV1Module(4, fc_channels=32, pool_size=2, pool5a=False)), path)
    DeepLabV1Module(4, fc_channels=32, multi_scale=True, pool5a=False, start_from=path)


def test_the_crf_as_layers_sees_no_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    module = DeepLabV3Module(4, backbone="resnet18", crf_rnn=True).eval()
    transform = EvaluationTransform((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    monkeypatch.setattr(type(module), "trainer", SimpleNamespace(datamodule=SimpleNamespace(eval_transform=transform)))
    logits, images = torch.randn(1, 4, 40, 48), torch.zeros(1, 3, 40, 48)
    images[..., :30, :36] = torch.rand(1, 3, 30, 36)
    monkeypatch.setattr("deeplab_lightning.inference.multi_scale_logits", lambda *_, **__: logits)
    with torch.no_grad():
        padded = module.evaluation_logits(images, (30, 36))
        torch.testing.assert_close(padded, module.refine(logits[..., :30, :36], images[..., :30, :36]))
        assert not torch.allclose(padded, module.refine(logits, images)[..., :30, :36])


def test_evaluation_in_sliding_windows() -> None:
    images = torch.randn(1, 3, 40, 56)
    whole = DeepLabV3Module(4, backbone="resnet18").eval()
    sliding = DeepLabV3Module(4, backbone="resnet18", window=(32, 32), window_stride=(8, 24)).eval()
    sliding.load_state_dict(whole.state_dict())
    with torch.no_grad():
        expected = torch.zeros(1, 4, 40, 56)
        count = torch.zeros(40, 56)
        for top in (0, 8):
            for left in (0, 24):
                inside = (..., slice(top, top + 32), slice(left, left + 32))
                expected[inside] += whole(images[inside])
                count[inside] += 1
        torch.testing.assert_close(sliding.evaluation_logits(images), expected / count)
        assert not torch.allclose(whole.evaluation_logits(images), expected / count, atol=1e-4)


def test_the_settings_choose_the_loss() -> None:
    images, target = torch.randn(2, 3, 33, 33), torch.randint(0, 4, (2, 33, 33))
    settings: dict[str, Any] = {"dice": 2, "focal": {"weight": 0.5, "gamma": 1}}
    for kind, own in ((DeepLabV3Module, {"backbone": "resnet18"}), (DeepLabV1Module, {"fc_channels": 32})):
        module = kind(4, loss=settings, upsample_logits=kind is DeepLabV3Module, **own).eval()
        assert module.hparams["loss"] == settings
        logits, labels = module(images), target
        if kind is DeepLabV1Module:
            logits = module.network.forward_features(images)
            labels = decimate(target, logits.shape[2:], 8)
        expected = 2 * Dice()(logits, labels) + 0.5 * Focal(1)(logits, labels)
        torch.testing.assert_close(module.training_loss(images, target), expected)
    with pytest.raises(ValueError, match="'dise'.*dice"):
        DeepLabV3Module(4, backbone="resnet18", loss={"dise": 1})
