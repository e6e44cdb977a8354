"""The papers' protocols: schedules, freezing, label grids, several losses, starting from other weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from deeplab_lightning.cli import NOISE
from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.losses.cross_entropy import cross_entropy
from deeplab_lightning.losses.decimation import decimate
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.layers import upsample
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v1 import DeepLabV1Module
from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (*NOISE, "You defined a `validation_step`")  # only training is looked at here
]

CAFFE: dict[str, Any] = {"upsample_logits": False, "lr_multipliers": {"classifier": 10.0}, "bias_lr_multiplier": 2.0}


def batches(count: int = 3) -> DataLoader[dict[str, Tensor]]:
    samples = [{"image": torch.randn(3, 33, 33), "mask": torch.randint(0, 4, (33, 33))} for _ in range(2 * count)]
    return DataLoader(samples, batch_size=2)  # type: ignore[arg-type]


def fit(module: SegmentationModule, tmp_path: Path, **settings: object) -> Trainer:
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_steps": 3, **settings},  # type: ignore[arg-type]
    )
    trainer.fit(module, batches())
    return trainer


def test_rates_of_v1() -> None:
    """Ten times the rate on the classifier's weights, twenty on its biases, two on others, no decay on biases."""
    groups = {
        group["name"]: group for group in DeepLabV1Module(4, fc_channels=32, lr=0.001, **CAFFE).parameter_groups()
    }
    assert {name: group["lr"] for name, group in groups.items()} == pytest.approx(
        {
            "backbone/weights": 0.001,
            "backbone/biases": 0.002,
            "head/weights": 0.001,
            "head/biases": 0.002,
            "classifier/weights": 0.01,
            "classifier/biases": 0.02,
        }
    )
    assert {group["weight_decay"] for name, group in groups.items() if name.endswith("biases")} == {0.0}


def test_the_rate_falls_by_steps_of_the_optimizer(tmp_path: Path) -> None:
    module = DeepLabV1Module(4, fc_channels=32, lr=0.001, poly_power=None, step_size=2)
    trainer = fit(module, tmp_path, max_steps=3, accumulate_grad_batches=1)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0001)
    module = DeepLabV1Module(4, fc_channels=32, lr=0.001, poly_power=None, step_size=2)
    trainer = fit(module, tmp_path, max_epochs=1, max_steps=-1, accumulate_grad_batches=3)
    assert trainer.global_step == 1
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.001)


def test_poly_ends_at_zero(tmp_path: Path) -> None:
    module = DeepLabV1Module(4, fc_channels=32, lr=0.001)
    assert fit(module, tmp_path).optimizers[0].param_groups[0]["lr"] == 0.0


def test_frozen_batch_norm_keeps_statistics_and_affine(tmp_path: Path) -> None:
    module = DeepLabV3Module(4, backbone="resnet18", freeze_batch_norm=True)
    norms = {name: layer for name, layer in module.network.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    before = {name: {key: value.clone() for key, value in layer.state_dict().items()} for name, layer in norms.items()}
    conv = module.network.get_parameter("backbone.conv1.weight").clone()
    fit(module, tmp_path)
    for name, layer in norms.items():
        for key, value in layer.state_dict().items():
            assert torch.equal(value, before[name][key]), (name, key)
    assert not torch.equal(module.network.get_parameter("backbone.conv1.weight"), conv)
    assert all(not layer.training for layer in norms.values())


def test_only_the_branches_of_msc_train(tmp_path: Path) -> None:
    frozen = ["backbone", "head", "classifier.0"]
    module = DeepLabV1Module(4, fc_channels=32, multi_scale=True, frozen=frozen, lr=0.1)
    before = {name: parameter.clone() for name, parameter in module.network.named_parameters()}
    fit(module, tmp_path)
    for name, parameter in module.network.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith(tuple(frozen)), name


def test_batch_norm_momentum() -> None:
    module = DeepLabV3Module(4, backbone="resnet18", batch_norm_momentum=0.0003)
    assert {layer.momentum for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)} == {0.0003}


def test_labels_are_decimated_exactly() -> None:
    """321 pixels lie under 41 positions of stride 8; the .75 input's 31 positions are 10.67 pixels apart."""
    target = torch.arange(321 * 321).view(1, 321, 321)
    assert torch.equal(decimate(target, (41, 41), 8), target[:, ::8, ::8])
    rows = decimate(target, (31, 31), 8 / 0.75)[0, :, 0] // 321
    assert rows.tolist() == [round(index * 320 / 30) for index in range(31)]
    assert decimate(target[:, :64, :64], (9, 9), 8)[0, -1, -1] == target[0, 63, 63]


def test_loss_on_the_grid_of_the_logits() -> None:
    module = DeepLabV1Module(4, fc_channels=32, upsample_logits=False).eval()
    images, target = torch.randn(2, 3, 33, 33), torch.randint(0, 4, (2, 33, 33))
    expected = cross_entropy(module.network.forward_features(images), target[:, ::8, ::8])
    torch.testing.assert_close(module.training_loss(images, target), expected)
    upsampled = DeepLabV1Module(4, fc_channels=32).eval()
    torch.testing.assert_close(upsampled.training_loss(images, target), cross_entropy(upsampled(images), target))


@pytest.mark.parametrize("upsample_logits", [False, True])
def test_the_four_terms_of_multi_scale_inputs(upsample_logits: bool) -> None:
    """Section 3.2 of v2: one loss for each input scale, one for their maximum."""
    scales = (1.0, 0.75, 0.5)
    module = DeepLabV2Module(4, backbone="resnet50", input_scales=scales, upsample_logits=upsample_logits).eval()
    network = module.network
    assert isinstance(network, DeepLabV2)
    images, target = torch.randn(1, 3, 65, 65), torch.randint(0, 4, (1, 65, 65))
    logits = network.forward_scales(images)
    terms = [(each, 8 / scale) for each, scale in zip(logits, scales, strict=True)] + [(network.fuse(logits), 8.0)]
    expected = sum(
        cross_entropy(upsample(each, (65, 65), True), target)
        if upsample_logits
        else cross_entropy(each, decimate(target, each.shape[2:], stride))
        for each, stride in terms
    )
    torch.testing.assert_close(module.training_loss(images, target), expected)


def saved(module: SegmentationModule, path: Path) -> str:
    torch.save({"state_dict": module.state_dict(), "global_step": 1}, path)
    return str(path)


def test_start_from_another_run(tmp_path: Path) -> None:
    """MSc starts from LargeFOV; a classifier with another number of classes keeps its initial weights."""
    first = DeepLabV1Module(4, fc_channels=32)
    path = saved(first, tmp_path / "first.ckpt")
    second = DeepLabV1Module(4, fc_channels=32, multi_scale=True, start_from=path)
    for name, parameter in first.network.named_parameters():
        assert torch.equal(parameter, second.network.get_parameter(name)), name
    third = DeepLabV1Module(7, fc_channels=32, start_from=path)
    assert torch.equal(third.network.get_parameter("head.0.weight"), first.network.get_parameter("head.0.weight"))
    assert len(third.network.get_parameter("classifier.0.weight")) == 7
    fourth = DeepLabV1Module(4, fc_channels=32, in_channels=1, start_from=path)
    kernels = first.network.get_parameter("backbone.features.0.weight")
    torch.testing.assert_close(fourth.network.get_parameter("backbone.features.0.weight"), kernels.sum(1, keepdim=True))


def test_starts_that_do_not_fit(tmp_path: Path) -> None:
    path = saved(DeepLabV1Module(4, fc_channels=32), tmp_path / "v1.ckpt")
    with pytest.raises(ValueError, match="v1.ckpt.* 4 of its tensors"):
        DeepLabV1Module(4, fc_channels=64, start_from=path)
    with pytest.raises(ValueError, match="v1.ckpt .*another network"):
        DeepLabV3Module(4, backbone="resnet18", start_from=path)
    with pytest.raises(FileNotFoundError, match="start_from.*/nowhere.ckpt"):
        DeepLabV1Module(4, fc_channels=32, start_from="/nowhere.ckpt")


def test_train_at_stride_16_and_evaluate_at_8() -> None:
    trained = DeepLabV3Module(4, backbone="resnet18")
    module = DeepLabV3Module(4, backbone="resnet18", output_stride=8, atrous_rates=(12, 24, 36))
    module.load_state_dict(trained.state_dict())
    assert module.network.forward_features(torch.randn(2, 3, 65, 65)).shape == (2, 4, 9, 9)


def test_weights_of_64_bits_are_loaded_whole(tmp_path: Path) -> None:
    trained = DeepLabV3Module(4, backbone="resnet18")
    fit(trained, tmp_path, max_steps=1, precision="64-true").save_checkpoint(tmp_path / "trained.ckpt")
    loaded = DeepLabV3Module(4, backbone="resnet18")
    trainer = Trainer(accelerator="cpu", logger=False, precision="64-true", limit_predict_batches=0)
    trainer.predict(loaded, batches(), ckpt_path=tmp_path / "trained.ckpt", weights_only=True)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_crf_as_layers_trains_end_to_end(shapes_root: Path, tmp_path: Path) -> None:
    """Its own parameters and the network's move; the evaluation refines what the network says."""
    data = FolderDataModule(str(shapes_root), batch_size=2, crop_size=(33, 33), num_workers=0)
    module = DeepLabV1Module(8, fc_channels=32, crf_rnn=True, lr=0.01)
    assert module.crf is not None
    before = {name: parameter.clone() for name, parameter in module.named_parameters()}
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        devices=1,
        logger=False,
        max_steps=2,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    moved = [name for name, parameter in module.named_parameters() if not torch.equal(parameter, before[name])]
    assert {"crf.compatibility", "crf.bilateral_weights", "network.classifier.0.weight"} <= set(moved)
    images = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        assert not torch.equal(module.eval().evaluation_logits(images), module.network(images))
