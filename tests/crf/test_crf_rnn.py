from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import Tensor

from deeplab_lightning.crf.crf_rnn import CRFRNN
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.settings import Normalization
from deeplab_lightning.losses.cross_entropy import cross_entropy
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule

NORMALIZATIONS: list[Normalization] = ["after", "symmetric"]
NETWORK: dict[str, Any] = {"backbone": "mobilenet_v2", "aspp_channels": 8, "pretrained": False}
SETTINGS: dict[str, Any] = {
    "bilateral_weight": 3.0, "bilateral_xy": 8.0, "bilateral_rgb": 20.0, "gaussian_weight": 1.0, "gaussian_xy": 1.5,
}  # fmt: skip


def scene(num_classes: int = 3, height: int = 12, width: int = 15) -> tuple[Tensor, Tensor, Tensor]:
    """Images of a dark and a bright part, noisy logits, and the target."""
    target = torch.zeros(2, height, width, dtype=torch.int64)
    target[:, :, width // 2 :] = 1
    images = (60 + 140 * target[..., None] + torch.randint(0, 20, (2, height, width, 3))).byte()
    logits = torch.randn(2, num_classes, height, width)
    return logits.scatter_add(1, target[:, None], torch.full((2, 1, height, width), 1.0)), images, target


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("training", [True, False])
def test_it_starts_as_the_dense_crf(training: bool, normalization: Normalization) -> None:
    logits, images, _ = scene()
    layer = CRFRNN(3, **SETTINGS, training_iterations=4, normalization=normalization).train(training)
    crf = DenseCRF(**SETTINGS, iterations=4 if training else 10, normalization=normalization)
    torch.testing.assert_close(layer(logits, images).softmax(1), crf(images, logits.softmax(1)), rtol=1e-3, atol=1e-5)
    channels_first = images.permute(0, 3, 1, 2).float()
    assert torch.equal(layer(logits, images), layer(logits, channels_first))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradients_of_logits_and_parameters(normalization: Normalization) -> None:
    """Through two iterations, and so through the lattice."""
    logits, images, _ = scene(height=4, width=5)
    layer = CRFRNN(3, **SETTINGS, training_iterations=2, normalization=normalization).double()
    inputs = (logits.double().requires_grad_(), layer.bilateral_weights, layer.gaussian_weights, layer.compatibility)

    def refined(logits: Tensor, *_: Tensor) -> Tensor:
        return layer(logits, images)  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(refined, inputs, atol=1e-4)


def test_training_it_lowers_the_loss() -> None:
    logits, images, target = scene()
    layer = CRFRNN(3, **SETTINGS | {"bilateral_weight": 0.0, "gaussian_weight": 0.0})
    before = cross_entropy(layer(logits, images), target).item()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    for _ in range(20):
        optimizer.zero_grad()
        loss = cross_entropy(layer(logits, images), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.5 * before
    assert (layer.bilateral_weights[:2] > 0).all()


def test_it_trains_after_an_evaluation_in_inference_mode() -> None:
    logits, images, target = scene(height=7, width=9)
    layer = CRFRNN(3, **SETTINGS)
    with torch.inference_mode():
        layer(logits, images)
    logits.requires_grad_()
    cross_entropy(layer(logits, images), target).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.abs().max() > 0


@pytest.mark.parametrize("setting", [None, *NORMALIZATIONS])
def test_a_checkpoint_keeps_the_normalisation_it_was_trained_with(
    setting: Normalization | None, tmp_path: Path
) -> None:
    """One without the setting is from before there was a choice, when it was the symmetric one."""
    module = DeepLabV3PlusModule(3, crf_rnn=True, crf_normalization=setting or "after", **NETWORK)
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    checkpoint = torch.load(tmp_path / "run.ckpt", weights_only=True)
    if setting is None:
        del checkpoint["hyper_parameters"]["crf_normalization"]
        torch.save(checkpoint, tmp_path / "run.ckpt")
    loaded = DeepLabV3PlusModule.load_from_checkpoint(tmp_path / "run.ckpt")
    by_config = DeepLabV3PlusModule(3, crf_rnn=True, **NETWORK)
    by_config.on_load_checkpoint(checkpoint)
    for again in (loaded, by_config):
        assert again.crf is not None
        assert again.crf.normalization == (setting or "symmetric")
        assert again.hparams["crf_normalization"] == again.crf.normalization  # the next checkpoint says so too


def test_the_identity_of_a_score_names_its_normalisation() -> None:
    words = {"after": "normalised after filtering", "symmetric": "normalised symmetrically"}
    for normalization in NORMALIZATIONS:
        module = DeepLabV3PlusModule(3, crf_rnn=True, crf_normalization=normalization, **NETWORK)
        data = SimpleNamespace(
            identity=lambda split: dict.fromkeys(("dataset", "split", "labels", "size_policy"), split)
        )
        trainer = SimpleNamespace(datamodule=data, precision="32-true", state=SimpleNamespace(fn="validate"))
        module.trainer = trainer  # type: ignore[assignment]
        assert module.evaluation_identity("val").crf == f"as layers, trained, {words[normalization]}"


def test_invalid_settings_are_refused() -> None:
    logits, images, _ = scene()
    with pytest.raises(ValueError, match="11, 15.*12, 15"):
        CRFRNN(3)(logits, images[:, 1:])
    with pytest.raises(ValueError, match="iterations 0"):
        CRFRNN(3, training_iterations=0)
    with pytest.raises(ValueError, match="crf_normalization 'symmetric'"):
        DeepLabV3PlusModule(3, pretrained=False, crf_normalization="symmetric")
    assert np.isfinite(CRFRNN(3)(logits, images).detach().numpy()).all()
