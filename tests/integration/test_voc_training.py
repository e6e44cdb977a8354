"""The command trains on train_aug of a generated VOC and SBD, with bootstrapping, on one and two processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.datasets.images import Sample
from deeplab_lightning.datasets.repeated import RepeatedDataset
from deeplab_lightning.datasets.voc import VOCDataset
from tests.devkits import SBD_ONLY, VOC_TRAIN
from tests.integration.conftest import ROOT, TINY, Run
from tests.patience import PATIENCE

SMALL = "evaluation_size: whole_image"  # not padded to VOC's 513

PROGRAM = """
import sys
from deeplab_lightning.__main__ import main
from deeplab_lightning.datasets.repeated import RepeatedDataset
from deeplab_lightning.datasets.images import Sample
import torch.distributed as distributed
load = RepeatedDataset.__getitem__
def recorded(self, key):
    sample = load(self, key)
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    with open(f"{sys.argv[1]}_{rank}", "a") as file:
        file.write(f"{key[1]} {key[0]} {sample['image_id']}\\n")
    return sample
RepeatedDataset.__getitem__ = recorded
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def options(tmp_path: Path, voc_root: Path, sbd_root: Path) -> list[str]:
    (tmp_path / "tiny.yaml").write_text(TINY.replace("batch_size: 4", "batch_size: 2"))
    roots = f"root: {voc_root}, sbd_root: {sbd_root}"
    (tmp_path / "roots.yaml").write_text(f"data: {{init_args: {{{roots}, {SMALL}}}}}\n")
    (tmp_path / "hard.yaml").write_text("trainer: {callbacks+: {class_path: BootstrapHardImages}}\n")
    configs = [ROOT / "experiments/base.yaml", ROOT / "experiments/data/voc2012_aug.yaml"]
    configs += [tmp_path / name for name in ("roots.yaml", "tiny.yaml", "hard.yaml")]
    return [option for config in configs for option in ("-c", str(config))]


def ids_on_two_processes(options: list[str], out: Path) -> list[list[str]]:
    """The images that each rank loads for training, in order."""
    program = out.with_name("program.py")
    program.write_text(PROGRAM)
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.default_root_dir", f"{out}_run"]
    command = [sys.executable, str(program), str(out), "fit", *options, *two]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return [path.read_text().splitlines() for path in sorted(out.parent.glob(f"{out.name}_[0-9]"))]


@pytest.mark.slow
def test_one_and_two_processes_see_the_same_order(
    deeplab: Run, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options += ["--trainer.max_steps", "12", "--trainer.limit_val_batches", "0"]
    load, alone = RepeatedDataset.__getitem__, []

    def recorded(self: RepeatedDataset, key: tuple[int, int]) -> Sample:
        sample = load(self, key)
        alone.append(f"{key[1]} {key[0]} {sample['image_id']}")
        return sample

    monkeypatch.setattr(RepeatedDataset, "__getitem__", recorded)
    deeplab("fit", *options, "--trainer.default_root_dir", tmp_path / "one_run")
    first, second = ids_on_two_processes(options, tmp_path / "two")
    together = [line for pair in zip(first, second, strict=True) for line in pair]
    epoch = [line for line in alone if line.startswith("0 ")]
    assert len(epoch) > 18  # some of the 18 images are repeated
    assert together[: len(epoch) // 2 * 2] == epoch[: len(epoch) // 2 * 2]
    records = [
        json.loads((tmp_path / run / "logs" / "fit_0" / "hard_images_epoch_0.json").read_text())
        for run in ("one_run", "two_run")
    ]
    assert records[0] == records[1]
    assert set(records[0]["image_ids"]) < set(VOC_TRAIN + SBD_ONLY)


def hard_ids(voc_root: Path, sbd_root: Path) -> list[str]:
    dataset = VOCDataset(voc_root, "train_aug", None, sbd_root)  # type: ignore[arg-type]
    hard = {2, 9, 11, 16, 18}
    return [
        image_id
        for index, image_id in enumerate(dataset.image_ids)
        if hard & {value for value, count in enumerate(dataset.mask(index).histogram()) if count}
    ]


def test_hard_classes_are_those_of_the_masks(
    deeplab: Run, options: list[str], tmp_path: Path, voc_root: Path, sbd_root: Path
) -> None:
    run = tmp_path / "run"
    deeplab("fit", *options, "--trainer.default_root_dir", run, "--trainer.max_steps", "3")
    log = run / "logs" / "fit_0"
    record = json.loads((log / "hard_images_epoch_0.json").read_text())
    assert record["image_ids"] == hard_ids(voc_root, sbd_root)
    assert record["multiplicity"] == 2
    assert record["images_by_class"]["sofa"] + record["images_by_class"]["chair"] > 0
    assert "bootstrap/bicycle" in (log / "metrics.csv").read_text()
    state = torch.load(run / "last.ckpt", weights_only=True)["callbacks"]["BootstrapHardImages"]
    assert len(state["extra"]) == len(record["image_ids"])


@pytest.mark.filterwarnings("ignore:You're resuming")
def test_bootstrapping_resumes_and_refuses_other_settings(deeplab: Run, options: list[str], tmp_path: Path) -> None:
    run = ("--trainer.default_root_dir", tmp_path / "run")
    deeplab("fit", *options, *run, "--trainer.max_steps", "3")
    deeplab("fit", *options, *run, "--ckpt_path", "last")
    (tmp_path / "hard.yaml").write_text(
        "trainer: {callbacks+: {class_path: BootstrapHardImages, init_args: {multiplicity: 3}}}\n"
    )
    with pytest.raises(ValueError, match="repeats other images than in the checkpoint"):
        deeplab("fit", *options, *run, "--ckpt_path", "last")


@pytest.mark.filterwarnings("ignore:You're resuming")
def test_the_worst_images_are_updated(
    deeplab: Run, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epoch 0 has 18 images in nine steps; later epochs have two images three times, so 22 images in eleven steps."""
    (tmp_path / "hard.yaml").write_text(
        "trainer: {callbacks+: {class_path: BootstrapHardImages, "
        "init_args: {mode: worst, share: 0.1, multiplicity: 3, every_n_epochs: 1}}}\n"
    )
    sizes: list[int] = []
    init = RepeatedDataset.__init__

    def recorded(self: RepeatedDataset, *arguments: Any) -> None:
        init(self, *arguments)
        sizes.append(len(self))

    monkeypatch.setattr(RepeatedDataset, "__init__", recorded)
    run = ("--trainer.default_root_dir", tmp_path / "run", "--trainer.limit_val_batches", "0")
    deeplab("fit", *options, *run, "--trainer.max_steps", "22")
    assert sizes == [18, 22, 22]
    log = tmp_path / "run" / "logs" / "fit_0"
    records = [json.loads((log / f"hard_images_epoch_{epoch}.json").read_text()) for epoch in (1, 2)]
    assert [len(record["image_ids"]) for record in records] == [2, 2]
    sizes.clear()
    deeplab("fit", *options, *run, "--trainer.max_steps", "24", "--ckpt_path", "last")
    assert sizes == [22]
