"""A training on one's own classes starts from published weights by their name, as the README shows."""

from pathlib import Path

import pytest
import torch

from deeplab_lightning.checkpoint_file import read_checkpoint
from tests.integration.conftest import ROOT, Failure, Run
from tests.published.releases import SMALLEST, random_network

MODEL = """
model:
  class_path: DeepLabV3Module
  init_args: {backbone: mobilenet_v2, width_multiplier: 0.5, batch_norm_eps: 1.0e-3, strided_padding: same,
    atrous_rates: [], align_corners: true, normalization: inception, lr: 0.01}
data:
  init_args: {batch_size: 4, crop_size: [33, 33], num_workers: 0}
trainer: {accelerator: cpu, devices: 1, max_steps: 2, val_check_interval: 2, num_sanity_val_steps: 0, callbacks: [],
  log_every_n_steps: 1, enable_progress_bar: false, enable_model_summary: false}
"""


@pytest.fixture
def options(tmp_path: Path, shapes_root: Path) -> list[str]:
    (tmp_path / "model.yaml").write_text(MODEL)
    files = [ROOT / "experiments" / "base.yaml", ROOT / "experiments" / "data" / "folder.yaml", tmp_path / "model.yaml"]
    configs = [option for file in files for option in ("-c", str(file))]
    return [*configs, "--data.root", str(shapes_root), "--trainer.default_root_dir", str(tmp_path / "run")]


def test_fine_tuning_in_one_line(
    weights_cache: Path, options: list[str], deeplab: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ["--model.start_from", SMALLEST, "--model.frozen", "[backbone]"]
    assert deeplab("fit", *options, *settings, "--model.lr_multipliers", "{classifier: 10}") == 0
    assert "newly initialised: classifier" in caplog.text
    checkpoint, published = read_checkpoint(tmp_path / "run" / "last.ckpt"), random_network().state_dict()
    weights = {key.removeprefix("network."): value for key, value in checkpoint["state_dict"].items()}
    assert weights["classifier.weight"].shape[0] == 8
    frozen = [key for key in published if key.startswith("backbone.") and not key.endswith("tracked")]
    assert all(torch.equal(weights[key], published[key]) for key in frozen)
    assert not torch.equal(weights["aspp.project.0.weight"], published["aspp.project.0.weight"])
    rates = {group["name"]: group["lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]}
    assert {name.partition("/")[0] for name in rates} == {"aspp", "classifier"}
    largest = {
        part: max(rate for name, rate in rates.items() if name.startswith(part)) for part in ("aspp", "classifier")
    }
    assert largest["classifier"] == pytest.approx(10 * largest["aspp"])


def test_published_weights_are_not_resumed(weights_cache: Path, options: list[str], failure: Failure) -> None:
    assert "--model.start_from" in failure("fit", *options, "--ckpt_path", SMALLEST)


def test_a_wrong_name(weights_cache: Path, options: list[str], failure: Failure) -> None:
    for setting in ("--ckpt_path", "--model.start_from", "--model.pretrained"):
        assert f"did you mean {SMALLEST}" in failure("fit", *options, setting, SMALLEST[:-1])
