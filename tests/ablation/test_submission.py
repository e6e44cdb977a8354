"""Rows that the VOC evaluation server scores: they are predicted, packed by the devkit's rules, and reported."""

import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from deeplab_lightning.__main__ import main
from deeplab_lightning.ablation.job import Job, jobs_of
from deeplab_lightning.ablation.outcomes import State, read_folder
from deeplab_lightning.ablation.plan import Plan, plan_table
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.ablation.runner import run_jobs
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.commands.dry_run import print_plan
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.submission import voc_server, write_submission
from deeplab_lightning.datasets.voc import CLASS_NAMES
from deeplab_lightning.palette import VOC_COLORS, Palette
from deeplab_lightning.reports.compare import compare
from deeplab_lightning.reports.terminal import print_comparison
from deeplab_lightning.reports.wandb_runs import read_runs
from tests.ablation.processes import Processes
from tests.ablation.tables import TABLE, write_tree
from tests.devkits import VOC_TEST, save_palette
from tests.integration.conftest import TINY
from tests.wandb_file import OfflineRun

SERVER = "  - {name: test, metric: server/miou, train: {}, evaluate: {configs: [crf/crf.yaml]}, paper: 60}\n"
PALETTE = Palette.voc(CLASS_NAMES)
FIRST_COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]


def check_by_the_devkit(tarball: Path, voc_root: Path) -> None:
    """Check for one regular file per line of test.txt: an 8-bit palette PNG of the image's size, without void."""
    image_ids = (voc_root / "ImageSets" / "Segmentation" / "test.txt").read_text().split()
    with tarfile.open(tarball) as content:
        members = {member.name: member for member in content.getmembers()}
        folder = f"results/VOC2012/Segmentation/{tarball.stem}"
        assert set(members) == {f"{folder}/{image_id}.png" for image_id in image_ids}
        for image_id in image_ids:
            member = members[f"{folder}/{image_id}.png"]
            assert member.isreg()
            file = content.extractfile(member)
            assert file is not None
            data = file.read()
            width, height, bits, kind = struct.unpack(">IIBB", data[16:26])
            with Image.open(voc_root / "JPEGImages" / f"{image_id}.jpg") as image:
                assert ((width, height), bits, kind) == (image.size, 8, 3)
            label_map = Image.open(io.BytesIO(data))
            assert label_map.mode == "P"
            assert np.asarray(label_map).max() <= 20
            palette = np.reshape(label_map.getpalette() or [], (256, 3))
            assert palette[:5].tolist() == [[*colour] for colour in FIRST_COLOURS]
            assert palette[255].tolist() == [224, 224, 192]


def options(folder: Path, voc_root: Path, *more: str) -> list[str]:
    """The options of `deeplab predict`, with a tiny network on the generated VOC."""
    data = f"data: {{class_path: VOCDataModule, init_args: {{root: {voc_root}, test_split: test}}}}\n"
    callbacks = "trainer: {callbacks: [{class_path: CRFEvaluation, init_args: {iterations: 1}}], logger: false}\n"
    files = {"data.yaml": data, "tiny.yaml": TINY, "crf.yaml": callbacks}
    for name, text in files.items():
        (folder / name).write_text(text)
    configs = [option for name in files for option in ("-c", str(folder / name))]
    return [*configs, "--untrained", "true", "--trainer.default_root_dir", str(folder / "run"), *more]


def test_a_prediction_of_the_test_split_is_packed_for_the_server(
    tmp_path: Path, voc_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *options(tmp_path, voc_root, "--trainer.callbacks+", "WriteSubmission")]) == 0
    path = tmp_path / "run" / "comp6_test_cls.tar"
    check_by_the_devkit(path, voc_root)
    with tarfile.open(path) as packed:  # what `WritePredictions` wrote, which is what the CRF made
        for member in packed.getmembers():
            file = packed.extractfile(member)
            assert file is not None
            assert file.read() == (tmp_path / "run" / "predictions" / Path(member.name).name).read_bytes()


@pytest.mark.parametrize(
    ("command", "setting", "error"),
    [
        ("predict", "--data.test_split=val", "got val and None"),
        ("predict", "--data.predict_images=images", "got test and images"),
        ("validate", "--data.test_split=test", "`deeplab predict`"),
    ],
)
def test_a_part_of_the_test_split_is_refused_before_prediction(
    tmp_path: Path, voc_root: Path, capsys: pytest.CaptureFixture[str], command: str, setting: str, error: str
) -> None:
    assert main([command, *options(tmp_path, voc_root, "--trainer.callbacks+", "WriteSubmission", setting)]) == 1
    assert error in capsys.readouterr().err
    assert not list((tmp_path / "run").rglob("*.png"))


def nothing(folder: Path) -> None:
    pass


def missing(folder: Path) -> None:
    (folder / f"{VOC_TEST[1]}.png").unlink()


def of_no_image(folder: Path) -> None:
    save_palette(np.zeros((48, 64), np.uint8), folder / "other.png")


def turned(folder: Path) -> None:
    save_palette(np.zeros((64, 48), np.uint8), folder / f"{VOC_TEST[1]}.png")


def void(folder: Path) -> None:
    save_palette(np.full((48, 64), 255, np.uint8), folder / f"{VOC_TEST[1]}.png")


def grey(folder: Path) -> None:
    Image.new("L", (64, 48)).save(folder / f"{VOC_TEST[1]}.png")


def colours(folder: Path) -> None:
    Image.new("RGB", (64, 48)).save(folder / f"{VOC_TEST[1]}.png")


def four_bits(folder: Path) -> None:
    label_map = Image.new("P", (64, 48))
    label_map.putpalette(VOC_COLORS[:16].ravel().tolist())
    label_map.save(folder / f"{VOC_TEST[1]}.png", bits=4)


def other_palette(folder: Path) -> None:
    label_map = Image.new("P", (64, 48))
    label_map.putpalette(VOC_COLORS[::-1].ravel().tolist())
    label_map.save(folder / f"{VOC_TEST[1]}.png")


@pytest.mark.parametrize(
    ("plant", "fault"),
    [
        (nothing, ""),
        (missing, "1 images have none"),
        (of_no_image, "other.png: "),
        (turned, r"\(48, 64\).*jpg is \(64, 48\)"),
        (void, "255.* 21 classes"),
        (grey, "8-bit PNGs with a palette"),
        (colours, "8-bit PNGs with a palette"),
        (four_bits, "8-bit PNGs with a palette"),
        (other_palette, "its palette is not that of the data"),
    ],
)
def test_label_maps_that_the_server_would_refuse(
    tmp_path: Path, voc_root: Path, plant: Callable[[Path], None], fault: str
) -> None:
    images = {image_id: voc_root / "JPEGImages" / f"{image_id}.jpg" for image_id in VOC_TEST}
    folder = tmp_path / "predictions"
    folder.mkdir()
    for image_id in images:
        save_palette(np.full((48, 64), 20, np.uint8), folder / f"{image_id}.png")
    plant(folder)
    if fault:
        with pytest.raises(DataError, match=fault):
            write_submission(images, folder, voc_server("comp5"), palette=PALETTE, folder=tmp_path)
        assert not list(tmp_path.glob("*.tar"))
    else:
        path = write_submission(images, folder, voc_server("comp5"), palette=PALETTE, folder=tmp_path)
        check_by_the_devkit(path, voc_root)


def plan(folder: Path) -> Plan:
    return plan_table(read_table(write_tree(folder, folder, TABLE + SERVER)), "paper", names=["test"])


def quiet(job: Job, state: State, reason: str) -> None:
    pass


def test_a_row_of_the_server_is_run_once_and_names_its_tarball(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, root = plan(tmp_path), tmp_path / "runs"
    processes = Processes(monkeypatch)
    for _ in range(2):
        assert run_jobs(jobs_of(made), root, quiet) == 0
    assert processes.rows() == ["fit test", "predict test"]
    (tarball,) = root.rglob("comp6_test_cls.tar")
    comparison = compare(made, read_folder(root))
    print_comparison(Console(width=80), comparison)
    assert f"test: submit {tarball}\n" in capsys.readouterr().out  # whole, in one line
    (line,) = comparison.lines
    assert (line.status, line.ours, line.seconds) == (f"submit {tarball}", None, 3.0)
    training, prediction = jobs_of(made)
    summary = {"seconds": 1.5, "submission": str(tarball)}
    runs = [
        OfflineRun(
            root,
            "finished",
            config={"wandb": {"work": str(job.key), "asked": job.asked, "protocol": PROTOCOL}},
            summary_metrics=summary if job is prediction else {"seconds": 1.5},
        )
        for job in (training, prediction)
    ]
    assert read_runs(runs) == read_folder(root)


def test_another_scale_submits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Processes(monkeypatch)
    made = plan_table(plan(tmp_path).table, "smoke", names=["test"])
    assert run_jobs(jobs_of(made), tmp_path / "runs", quiet) == 0
    assert compare(made, read_folder(tmp_path / "runs")).lines[0].status == "predicted"


def test_a_dry_run_names_the_rows_of_the_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(Console(width=200), plan(tmp_path), tmp_path)
    printed = capsys.readouterr().out
    assert "for the server: test\n" in printed
    assert "deeplab predict -c" in printed
