"""fit, validate, test, predict and report as a user runs them."""

import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
import yaml
from lightning import Trainer
from PIL import Image

from deeplab_lightning import crf_search
from deeplab_lightning.__main__ import main
from deeplab_lightning.crf_search import Search, fragment
from deeplab_lightning.datasets.class_names import write_palette
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.images import Sample
from deeplab_lightning.datasets.shapes import CLASS_NAMES
from deeplab_lightning.description import ModelDescription
from deeplab_lightning.drawing import GAP
from deeplab_lightning.models.build import restore_network
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from deeplab_lightning.palette import Palette
from tests.integration.conftest import ROOT, Run
from tests.test_crf_search import PicklingThreads


def records(log: Path) -> dict[str, dict[str, object]]:
    return {record["metric"]: record for record in json.loads((log / "evaluation.json").read_text())}


def network_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    tensors = torch.load(checkpoint, weights_only=True)["state_dict"]
    return {name.removeprefix("network."): tensor for name, tensor in tensors.items()}


def test_fit_leaves_checkpoints_and_records(run: Path) -> None:
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = torch.load(run / name, weights_only=True)
        assert checkpoint["global_step"] in (3, 6)
        module = DeepLabV3PlusModule.load_from_checkpoint(run / name, weights_only=True)
        assert module.network.num_classes == 8
        assert module.class_names[0] == "background"
    log = run / "logs" / "fit_0"
    assert (log / "config.yaml").is_file()
    assert "train/loss" in (log / "metrics.csv").read_text()
    miou = records(log)["val/miou"]
    assert miou["identity"]["num_images"] == 5  # type: ignore[index]
    assert miou["identity"]["weights"] == "of step 6"  # type: ignore[index]
    assert len(list((log / "panels" / "val").glob("*.png"))) == 5
    best, last = (torch.load(run / name, weights_only=True)["description"] for name in ("best.ckpt", "last.ckpt"))
    description = ModelDescription.of_dict(last)
    assert description.network == "DeepLabV3Plus"
    restored = restore_network(description.network, description.arguments, network_of(run / "last.ckpt"))
    assert restored.num_classes == 8
    assert description.score is not None
    assert description.score.value == miou["value"]
    assert description.score.identity == miou["identity"]
    assert best["score"]["value"] >= last["score"]["value"]
    assert description.palette.class_names[0] == "background"
    assert description.normalization.mean == pytest.approx((0.485, 0.456, 0.406))


@pytest.mark.filterwarnings("error:The .srun. command is available")  # which the other tests leave to pyproject.toml
@pytest.mark.usefixtures("srun")
def test_an_unused_srun_is_not_worth_a_warning(deeplab: Run, experiment: list[str]) -> None:
    with pytest.raises(UserWarning, match="srun"):
        Trainer(logger=False)  # Lightning by itself
    assert deeplab("validate", *experiment, "--untrained", "true") == 0


@pytest.mark.usefixtures("srun")
def test_the_tests_own_trainers_pass_where_there_is_an_srun() -> None:
    assert Trainer(accelerator="cpu", logger=False).num_devices == 1


def test_one_checkpoint_serves_many_evaluations(deeplab: Run, run: Path) -> None:
    """Scales and flip of the command line win over those the checkpoint was trained with; the CRF comes on top."""
    checkpoint = ("--ckpt_path", run / "best.ckpt")
    config = ("-c", run / "logs" / "fit_0" / "config.yaml")
    crf = Path(__file__).parents[2] / "experiments" / "crf" / "shapes.yaml"
    deeplab("test", *config, *checkpoint)
    deeplab("test", *config, *checkpoint, "--model.scales", "[0.75, 1.0]", "--model.flip", "true")
    deeplab("validate", *config, "-c", crf, *checkpoint)
    plain, averaged, refined = (records(run / "logs" / name) for name in ("test_0", "test_1", "validate_0"))
    assert plain["test/miou"]["identity"]["scales"] == [1.0]  # type: ignore[index]
    assert averaged["test/miou"]["identity"]["scales"] == [0.75, 1.0]  # type: ignore[index]
    assert averaged["test/miou"]["identity"]["flip"] is True  # type: ignore[index]
    assert plain["test/loss"]["value"] != averaged["test/loss"]["value"]
    assert plain["test/miou"]["identity"]["num_images"] == 3  # type: ignore[index]
    assert refined["val/miou_crf"]["identity"]["num_images"] == 5  # type: ignore[index]
    assert "xy 20" in refined["val/miou_crf"]["identity"]["crf"]  # type: ignore[index]
    assert refined["val/miou"]["identity"]["crf"] is None  # type: ignore[index]
    with Image.open(run / "logs" / "validate_0" / "panels" / "val" / "val_00000.png") as panel:
        assert panel.width == 4 * (4 * 64) + 3 * GAP  # image, target, prediction, after CRF, each enlarged four times
    deeplab("report", run)
    assert "CRF" in (run / "report.html").read_text()


def test_the_learning_rate_decreases_with_every_step(run: Path) -> None:
    lines = [line.split(",") for line in (run / "logs/fit_0/metrics.csv").read_text().splitlines()]
    column = next(index for index, name in enumerate(lines[0]) if name.startswith("lr-") and "backbone/weights" in name)
    rates = [float(line[column]) for line in lines[1:] if line[column]]
    expected = [0.01 * (1 - step / 6) ** 0.9 for step in range(6)]
    assert rates == pytest.approx(expected)


def test_predict_writes_label_maps_in_the_colours_of_the_data(
    deeplab: Run, experiment: list[str], run: Path, tmp_path: Path, shapes_root: Path
) -> None:
    root = Path(copytree(shapes_root, tmp_path / "coloured"))
    palette = Palette(CLASS_NAMES, tuple((10 * index, 200, 100) for index in range(8)), void=(1, 2, 3))
    write_palette(root, palette)
    experiment += ["--data.root", str(root)]
    deeplab(
        "predict", *experiment, "--ckpt_path", run / "last.ckpt", "--data.predict_images", shapes_root / "JPEGImages"
    )
    predictions = sorted((run / "logs" / "predict_0" / "predictions").glob("*.png"))
    assert len(predictions) == 20
    with Image.open(predictions[0]) as mask:
        assert (mask.mode, mask.size) == ("P", (64, 48))
        assert np.asarray(mask).max() < 8
        assert mask.getpalette() == palette.table().ravel().tolist()


@pytest.mark.parametrize("engine", ["torch", "pydensecrf"])
def test_the_crf_refines_the_maps_of_predict(
    engine: str, deeplab: Run, experiment: list[str], tmp_path: Path, shapes_root: Path
) -> None:
    (tmp_path / "crf.yaml").write_text(
        "trainer: {callbacks+: [{class_path: CRFEvaluation, "
        f"init_args: {{bilateral_weight: 8, bilateral_xy: 20, bilateral_rgb: 30, engine: {engine}}}}}]}}\n"
    )
    (tmp_path / "images").mkdir()
    images = sorted((shapes_root / "JPEGImages").iterdir())[:2]
    for image in images:
        (tmp_path / "images" / image.name).write_bytes(image.read_bytes())
    maps = {}
    for name, crf in (("plain", []), ("refined", ["-c", tmp_path / "crf.yaml"])):
        folder = ("--trainer.default_root_dir", tmp_path / name, "--data.predict_images", tmp_path / "images")
        deeplab("predict", *experiment, *crf, *folder, "--untrained", "true")
        paths = sorted((tmp_path / name).glob("logs/predict_0/predictions/*.png"))
        assert [path.stem for path in paths] == [image.stem for image in images]
        maps[name] = [np.asarray(Image.open(path)) for path in paths]
    assert any((plain != refined).any() for plain, refined in zip(*maps.values(), strict=True))
    borders = {name: sum((np.diff(each, axis=0) != 0).sum() for each in several) for name, several in maps.items()}
    assert borders["refined"] < borders["plain"]  # an untrained network's labels are noise, which the CRF smooths


def test_callbacks_get_images_without_the_padding(deeplab: Run, experiment: list[str], tmp_path: Path) -> None:
    crf = ROOT / "experiments" / "crf" / "shapes.yaml"
    deeplab("validate", *experiment, "-c", crf, "--data.evaluation_size", "pad_to_513", "--untrained", "true")
    log = tmp_path / "run" / "logs" / "validate_0"
    assert "padded with the mean to 513x513" in str(records(log)["val/miou_crf"]["identity"])
    with Image.open(log / "panels" / "val" / "val_00000.png") as panel:
        assert panel.width == 4 * (4 * 64) + 3 * GAP


def test_the_same_seed_gives_the_same_weights(deeplab: Run, experiment: list[str], tmp_path: Path) -> None:
    states = []
    for number, seed in enumerate((1, 1, 2)):
        run = tmp_path / str(number)
        options = ["--seed_everything", seed, "--trainer.max_steps", 3, "--trainer.limit_val_batches", 0]
        deeplab("fit", *experiment, *options, "--trainer.default_root_dir", run)
        states.append(torch.load(run / "last.ckpt", weights_only=True)["state_dict"])
    first, again, other = states
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_wandb_is_offline_without_a_key(
    deeplab: Run, experiment: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    deeplab("fit", *experiment, "--trainer.max_steps", "3", "--wandb.name", "mine")
    import wandb

    wandb.finish()
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    written = next(folder.glob("run-*.wandb")).read_bytes()
    for logged in (b"train/loss", b"val/miou", b"val/iou/disk", b"mine"):
        assert logged in written
    assert list((folder / "files" / "media" / "images").rglob("*.png"))


def test_real_street_scenes_train(deeplab: Run, experiment: list[str], tmp_path: Path, real_data: Path) -> None:
    """The README's command with CamVid's config trains a tiny network for a few steps."""
    camvid = Path(__file__).parents[2] / "experiments" / "data" / "camvid.yaml"
    options = ["-c", camvid, "--data.root", real_data / "camvid", "--trainer.limit_val_batches", "3"]
    deeplab("fit", *experiment, *options, "--data.crop_size", "[64, 64]", "--model.scales", "[0.25]")
    found = records(tmp_path / "run" / "logs" / "fit_0")
    assert found["val/miou"]["identity"]["dataset"] == "camvid"  # type: ignore[index]
    assert {name.removeprefix("val/iou/") for name in found if "val/iou/" in name} >= {"sky", "road", "building"}
    assert float(str(found["val/miou"]["value"])) > 0


def test_print_config_resolves_the_experiment(
    deeplab: Run, experiment: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        deeplab("fit", *experiment, "--print_config")
    printed = capsys.readouterr().out
    assert "class_path: deeplab_lightning.DeepLabV3PlusModule" in printed
    assert "lr: 0.01" in printed
    assert "num_classes" not in printed  # it follows from the data


def test_every_epoch_has_its_own_order_and_augmentation(
    deeplab: Run, experiment: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch has three batches; six steps read each image once in epoch 0 and once in epoch 1."""
    keys: list[tuple[int, int]] = []
    load = FolderDataset.__getitem__

    def recorded(self: FolderDataset, key: int | tuple[int, int]) -> Sample:
        if isinstance(key, tuple):
            keys.append(key)
        return load(self, key)

    monkeypatch.setattr(FolderDataset, "__getitem__", recorded)
    deeplab("fit", *experiment, "--trainer.limit_val_batches", "0")
    first, second = ([index for index, own in keys if own == epoch] for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_crf_search_finds_a_setting_that_a_validation_can_use(
    deeplab: Run, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crf_search, "ProcessPoolExecutor", PicklingThreads)
    config = run / "logs" / "fit_0" / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["trainer"][
        "callbacks"
    ] = [  # crf-search must take only the network and the data from the config, not its callbacks
        {"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {"setup": "os.abort"}}
    ]
    (tmp_path / "as_it_was.yaml").write_text(config.read_text())
    config.write_text(yaml.safe_dump(settings))
    grid = ["--bilateral_weight", "1", "3", "--bilateral_xy", "10", "--bilateral_rgb", "10", "--rounds", "1"]
    search = ["crf-search", run / "best.ckpt", *grid, "--gaussian_weight", "1", "--gaussian_xy", "1", "--images", "4"]
    deeplab(*search, "--workers", "1")
    written = run / "crf_search"
    rows = (written / "search.csv").read_text()
    assert len(rows.splitlines()) >= 1 + 3
    assert len(list((written / "logits").glob("*.npz"))) == 4
    assert (written / "heat_map.png").is_file()
    saved = (written / "logits" / "val_00000.npz").stat().st_mtime_ns
    run = run.rename(tmp_path / "moved")
    search[1], written = run / "best.ckpt", run / "crf_search"
    deeplab(*search, "--workers", "1")
    assert (written / "search.csv").read_text() == rows  # a second start computes nothing, wherever the run is now
    assert (written / "logits" / "val_00000.npz").stat().st_mtime_ns == saved
    assert "on 4 validation images: mIoU" in " ".join(capsys.readouterr().out.split())
    search_result = Search([], written / "search.csv", 1)
    kept = torch.load(run / "best.ckpt", weights_only=True)["description"]["crf"]
    best = search_result.best
    assert kept == (None if best == search_result.no_crf else {name: getattr(best, name) for name in kept})
    crf, miou = list(search_result.scores.items())[-1]
    (tmp_path / "crf.yaml").write_text(fragment(crf, "one of the tried settings"))
    fragments = ["-c", tmp_path / "crf.yaml", "-c", ROOT / "experiments" / "crf" / "trimap.yaml"]
    fragments += ["--trainer.default_root_dir", run, "--trainer.limit_val_batches", 4]
    deeplab("validate", "-c", tmp_path / "as_it_was.yaml", *fragments, "--ckpt_path", run / "best.ckpt")
    scores = records(run / "logs" / "validate_0")
    assert scores["val/miou_crf"]["value"] == pytest.approx(miou, abs=1e-3)  # the saved logits are float16
    assert scores["val/miou_gain_crf"]["value"] == pytest.approx(
        float(str(scores["val/miou_crf"]["value"])) - float(str(scores["val/miou"]["value"])), abs=1e-6
    )
    assert all(f"val/trimap_accuracy{suffix}/{width}" in scores for suffix in ("", "_crf") for width in (1, 20, 40))
    assert (run / "logs" / "validate_0" / "panels" / "val" / "trimap.png").is_file()


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_untrained_weights_are_refused_unless_asked_for(
    command: str, experiment: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *experiment]) == 2
    assert f"{command} would run on untrained weights" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_start_from_counts_as_trained_unless_a_part_stays_untrained(
    deeplab: Run, experiment: list[str], run: Path, shapes_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("--model.start_from", str(run / "last.ckpt"))
    assert deeplab("validate", *experiment, *start) == 0
    assert records(run / "logs" / "validate_0")["val/miou"]["identity"]["weights"] == "of step 6"  # type: ignore[index]
    data = Path(copytree(shapes_root, run.with_name("data")))
    (data / "class_names.txt").write_text((data / "class_names.txt").read_text() + "ninth\n")
    assert main(["validate", *experiment, *start, "--data.root", str(data)]) == 2
    assert "validate would run on untrained weights" in capsys.readouterr().err


def test_a_tilde_means_the_home_folder(
    deeplab: Run, experiment: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    (home / "mine.yaml").write_text("trainer: {default_root_dir: ~/runs, max_steps: 3}\n")
    options = experiment[: experiment.index("--trainer.default_root_dir")]
    deeplab("fit", *options, "--config=~/mine.yaml")
    assert {path.name for path in (home / "runs").iterdir()} == {".fit.lock", "best.ckpt", "last.ckpt", "logs"}
    assert not (tmp_path / "~").exists()
    config = home / "runs" / "logs" / "fit_0" / "config.yaml"
    deeplab("validate", "-c", config, "--ckpt_path=~/runs/last.ckpt")
    (tmp_path / "best.yaml").write_text("ckpt_path: best\n")
    deeplab("test", "-c", config, "-c", "best.yaml")
    assert {path.name for path in (home / "runs" / "logs").iterdir()} == {"fit_0", "validate_0", "test_0"}
    again = ("--ckpt_path", "null", "--trainer.default_root_dir=~/again", "--trainer.limit_val_batches", "0")
    deeplab("fit", "-c", home / "runs" / "logs" / "validate_0" / "config.yaml", *again)
    assert (home / "again" / "last.ckpt").is_file()


def test_crf_search_names_the_missing_file(deeplab: Run, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        deeplab("crf-search", tmp_path / "none.ckpt")
    (tmp_path / "some.ckpt").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"no logs/fit_\*/config.yaml beside the checkpoint"):
        deeplab("crf-search", tmp_path / "some.ckpt")
    with pytest.raises(ValueError, match="images, iterations and workers"):
        deeplab("crf-search", tmp_path / "some.ckpt", "--images", "0")
