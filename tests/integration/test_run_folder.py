"""A run folder can be moved and copied, and none of its files is replaced or used by mistake."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from deeplab_lightning.__main__ import main
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from tests.integration.conftest import Failure, experiment_in
from tests.thin import an_eighth_of_the_channels

pytestmark = pytest.mark.filterwarnings(
    "ignore:You're resuming"
)  # Lightning warns about a checkpoint from the middle of an epoch


THIN = ["--model.low_level_channels", "16"]  # a number that can be divided by eight


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shapes_root: Path) -> Path:
    """A folder with the options of a training and its run folder `run`, after 3 of 6 steps."""
    folder = tmp_path_factory.mktemp("trained")
    with an_eighth_of_the_channels():
        assert main(["fit", *experiment_in(folder, shapes_root), *THIN, "--trainer.max_steps", "3"]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run folder in another place."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(trained / "run", tmp_path / "moved"))


@pytest.fixture(autouse=True)
def thin() -> Any:
    with an_eighth_of_the_channels():
        yield


def config(run: Path) -> list[str]:
    return ["-c", str(run / "logs" / "fit_0" / "config.yaml")]


def rescore(path: Path, score: float) -> None:
    """Change the best score that a checkpoint records."""
    checkpoint = torch.load(path, weights_only=True)
    (state,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("Checkpoint"))
    assert 0 < state["best_model_score"] < 0.9
    state["best_model_score"] = torch.tensor(score)
    torch.save(checkpoint, path)


def test_a_moved_run_continues_in_its_new_place_and_keeps_its_best(run: Path, trained: Path) -> None:
    rescore(run / "last.ckpt", 0.9)
    best, before = (run / "best.ckpt").read_bytes(), sorted(trained.rglob("*"))
    assert main(["fit", *config(run), "--ckpt_path", "last", "--trainer.max_steps", "6"]) == 0
    assert (run / "best.ckpt").read_bytes() == best
    last = torch.load(run / "last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    assert str(run) not in str(last["callbacks"])
    more = ["--trainer.max_steps", "7", "--trainer.limit_val_batches", "0"]
    assert main(["fit", *config(run), "--ckpt_path", "last", *more]) == 0  # now without validation
    assert (run / "logs" / "fit_2").is_dir()
    assert sorted(trained.rglob("*")) == before


def test_a_moved_run_is_recorded_in_its_new_place(run: Path, trained: Path) -> None:
    before = sorted(trained.rglob("*"))
    (file,) = config(run)[1:]
    assert main(["validate", f"--config={file}", "--ckpt_path", "best", "--model.pretrained", "true"]) == 0
    assert (run / "logs" / "validate_0" / "evaluation.json").is_file()
    record = yaml.safe_load((run / "logs" / "validate_0" / "config.yaml").read_text())
    assert (record["ckpt_path"], record["model"]["init_args"]["pretrained"]) == ("best", True)  # as given
    assert sorted(trained.rglob("*")) == before


def test_a_run_that_is_moved_while_it_trains_ends_and_resumes_in_its_new_place(
    run: Path, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, moved = SegmentationModule.training_step, run.with_name("elsewhere")

    def move(self: SegmentationModule, *arguments: Any) -> Any:
        run.rename(moved)
        return step(self, *arguments)

    monkeypatch.setattr(SegmentationModule, "training_step", move)
    before = {path.name: path.read_bytes() for path in run.glob("*.ckpt")}
    message = failure("fit", *config(run), "--ckpt_path", "last", "--trainer.max_steps", "4")
    assert f"{run} was moved or deleted" in message
    assert not run.exists()
    assert {path.name: path.read_bytes() for path in moved.glob("*.ckpt")} == before
    monkeypatch.setattr(SegmentationModule, "training_step", step)
    assert main(["fit", *config(moved), "--ckpt_path", "last", "--trainer.max_steps", "4"]) == 0
    assert not run.exists()


def test_a_second_training_does_not_replace_the_first(run: Path, failure: Failure) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.ckpt")}
    message = failure("fit", *config(run))
    assert f"{run} holds best.ckpt and last.ckpt of an earlier training" in message
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.ckpt")} == before
    assert not (run / "logs" / "fit_1").exists()


def test_a_training_without_its_last_checkpoint_continues_from_the_best(run: Path) -> None:
    (run / "last.ckpt").unlink()
    with pytest.warns(UserWarning, match="there is no .*last.ckpt; .*best.ckpt"):
        assert main(["fit", *config(run), "--ckpt_path", "last", "--trainer.max_steps", "4"]) == 0
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 4


def test_a_damaged_checkpoint_is_skipped_by_a_training_and_never_scored(run: Path, failure: Failure) -> None:
    content = bytearray((run / "last.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (run / "last.ckpt").write_bytes(content)
    message = failure("test", *config(run), "--ckpt_path", run / "last.ckpt")
    assert f"{run / 'last.ckpt'}: it is damaged, the checksum of its part " in message
    message = failure("fit", *config(run), "--trainer.default_root_dir", "new", "--model.start_from", run / "last.ckpt")
    assert f"{run / 'last.ckpt'}: it is damaged" in message
    with pytest.warns(UserWarning, match=r"last\.ckpt.* damaged.*best\.ckpt of step 3"):
        assert main(["fit", *config(run), "--ckpt_path", "last", "--trainer.max_steps", "4"]) == 0


def test_weights_that_are_not_finite_are_not_scored(run: Path, shapes_root: Path, failure: Failure) -> None:
    images = shapes_root / "JPEGImages"
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    name = next(name for name in checkpoint["state_dict"] if name.endswith("running_var"))
    checkpoint["state_dict"][name][0] = float("nan")
    torch.save(checkpoint, run / "best.ckpt")
    for command in ("validate", "predict"):
        message = failure(command, *config(run), "--ckpt_path", run / "best.ckpt", "--data.predict_images", images)
        assert (
            f"best.ckpt: 1 of its {len(checkpoint['state_dict'])} tensors are not finite, the first is {name}"
            in message
        )


def test_a_checkpoint_of_another_variant_is_named(run: Path, failure: Failure) -> None:
    other = ["--model", "DeepLabV3CascadeModule", "--model.backbone", "resnet18", "--model.num_blocks", "5"]
    for command in ("fit", "validate"):
        message = failure(command, *config(run), *other, "--ckpt_path", run / "last.ckpt")
        assert "last.ckpt holds a DeepLabV3PlusModule, but a DeepLabV3CascadeModule was asked for" in message


def test_the_base_class_loads_the_checkpoint_s_own_variant(run: Path) -> None:
    path = run / "last.ckpt"
    module = SegmentationModule.load_from_checkpoint(path)
    assert type(module) is DeepLabV3PlusModule
    assert DeepLabV3PlusModule.load_from_checkpoint(path, flip=True).inference.flip
    with pytest.raises(
        ValueError, match="last.ckpt: it holds a DeepLabV3PlusModule, but a DeepLabV3Module was asked for"
    ):
        DeepLabV3Module.load_from_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["module"]  # older checkpoints do not have it
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match="DeepLabV1Module.*DeepLabV3PlusModule"):
        SegmentationModule.load_from_checkpoint(path)
    assert DeepLabV3PlusModule.load_from_checkpoint(path).network.num_classes == 8


def test_a_training_that_ends_before_its_first_validation_is_validated_at_its_end(
    tmp_path: Path, shapes_root: Path, failure: Failure
) -> None:
    options = [*experiment_in(tmp_path, shapes_root), *THIN, "--trainer.max_steps", "2"]
    message = failure("fit", *options, "--checkpoint.monitor", "val/mIoU")
    assert re.search("checkpoint.monitor 'val/mIoU'.*: val/miou, ", message)
    assert not list((tmp_path / "run").glob("*.ckpt"))
    assert main(["fit", *options]) == 0
    assert torch.load(tmp_path / "run" / "best.ckpt", weights_only=True)["global_step"] == 2
