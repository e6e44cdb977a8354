"""The commands of the pages run, at small size, as a reader would type them in one folder.

Some pages have tests of their own, named in `ELSEWHERE`. Of the others, each command runs, or it is listed in `NOT_RUN`
with the reason, and then its options are parsed.
"""

import contextlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deeplab_lightning.__main__ import main
from deeplab_lightning.datasets.shapes import CLASS_NAMES, render
from tests.devkits import annotation, square, write_cityscapes, write_coco, write_sbd, write_voc
from tests.integration.conftest import ROOT
from tests.thin import an_eighth_of_the_channels

FOLDER = "experiments/data/folder.yaml"
NUMBERS_OF_CLASSES = (19, 21)
"""The numbers of classes of Cityscapes and VOC, which thin networks keep."""
PAGES = [
    *("README.md", "docs/data.md", "docs/many_gpus.md", "docs/my_data.md", "docs/networks.md", "docs/questions.md"),
    *("docs/published_weights.md", "docs/scores.md", "docs/tables.md", "docs/training.md"),
]
ELSEWHERE = {
    "docs/export.md": "tests/commands/test_export.py",
    "docs/first_run.md": "tests/test_wheel.py",
    "docs/hub.md": "tests/commands/test_hub.py",
    "docs/segment.md": "tests/commands/test_segment.py",
    "docs/serve.md": "tests/commands/test_serve.py",
}
"""The tests of the other pages with commands."""
NOT_RUN = {
    "make ": "it makes environments, runs all tests, or trains for minutes",
    "export DEEPLAB_DATA": "the test sets the variable itself",
    "deeplab data prepare": "it downloads, or needs an archive of gigabytes",
    "deeplab serve": "it ends with Ctrl-C; tests/serving starts it",
    "deeplab export": "the test of docs/export.md runs it",
    "deeplab weights get": "it downloads",
    "deeplab weights score": "it downloads",
    "deeplab weights convert": "it needs a released file; tests/commands/test_weights.py has small ones",
    "deeplab ablate experiments/ablations/deeplab_v3_table4.yaml --launcher local": "tests/ablation runs launchers",
    "deeplab ablate experiments/ablations/deeplab_v3_table4.yaml --launcher slurm": "it needs a cluster",
    "deeplab ablate experiments/ablations/deeplab_v3_table4.yaml --results": "it needs a bucket",
}
"""Beginnings of commands that cannot run here, and why."""
INSTEAD = {"--trainer.devices": "1", "--trainer.strategy": "auto", "--model.start_from": "null", "--images": "2"}
"""Values of options that this machine cannot have, or that take long."""
QUICK = {
    "deeplab fit": "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.limit_val_batches 2 "
    "--trainer.accelerator cpu --data.batch_size 2 --data.num_workers 0 --data.crop_size [33,33] "
    "--data.evaluation_size whole_image --model.pretrained false",
    "deeplab train": "--steps 4 --model.pretrained false --data.batch_size 2 --data.num_workers 0",
    "deeplab crf-search": "--rounds 0 --bilateral_weight 4 --bilateral_xy 49 --bilateral_rgb 5 --workers 1",
    "deeplab ablate experiments/ablations/deeplab_v3_table4.yaml --seeds": "--dry-run",
    "deeplab ablate experiments/ablations/released_weights.yaml": "--dry-run",
    "deeplab ablate experiments/ablations/deeplab_v3_table4.yaml --scale smoke": "--rows stride16",
}
"""Options that make commands with these beginnings quick."""
PARTICULAR = {
    "--data.in_channels 4": "--data.root four_channels --data.split_ratio [0.8,0.2,0]",
    "--ckpt_path last": "--trainer.max_steps 4",
    "data/cityscapes.yaml": "--data.image_size [48,64]",
    "data/coco_voc21.yaml": "--data.train_filter none",
}
"""Options for commands that contain a text: for the small data sets, and for a training that has ended."""
STATUS = {"deeplab data check -c experiments/data/voc2012_aug.yaml": 1}
"""Exit statuses other than 0: the small VOC lacks most of the published images."""


def commands_of(page: str) -> list[str]:
    """The commands of a page's console blocks, without their comments."""
    blocks = re.findall(r"^```console\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line.removeprefix(".venv/bin/")) for line in lines if line.strip()]


def reason_not_to_run(command: str) -> str | None:
    return next((reason for start, reason in NOT_RUN.items() if command.startswith(start)), None)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, pictures and runs that the pages name."""
    folder = tmp_path_factory.mktemp("reader")
    write_files(folder)
    with (
        contextlib.chdir(folder),
        pytest.MonkeyPatch.context() as patch,
        an_eighth_of_the_channels(*NUMBERS_OF_CLASSES),
    ):
        patch.setenv("DEEPLAB_DATA", "data")
        for name in ("my_data", "path/to/my_data"):
            assert main(["data", "check", "-c", FOLDER, "--root", name, "--fix"]) == 0
        (training,) = (command for command in commands_of("README.md") if command.startswith("deeplab fit"))
        assert main(words_of(training)) == 0
        assert main(["validate", "-c", "runs/mine/logs/fit_0/config.yaml", "--ckpt_path", "runs/mine/best.ckpt"]) == 0
        shutil.copytree("runs/mine", "runs/demo")
        shutil.copytree("runs/mine", "runs/other")
    return folder


def write_files(folder: Path) -> None:
    data = folder / "data"
    write_voc(data / "VOCdevkit" / "VOC2012")
    write_sbd(data / "benchmark_RELEASE" / "dataset")
    write_cityscapes(data / "cityscapes")
    person = annotation(1, 1, 1, [square(5, 5, 20)])
    write_coco(data / "coco", {"train2017": [person], "val2017": [person]})
    for name in ("my_data", "path/to/my_data"):
        write_pictures(folder / name, 3)
    write_pictures(folder / "four_channels", 4)
    for name in ("pictures", "my_pictures"):
        shutil.copytree(folder / "my_data" / "images", folder / name)
    write_clip(folder / "clip.mp4")


def write_pictures(root: Path, channels: int) -> None:
    """Pictures with masks, and the names of their classes."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(24):
        image, mask = render(np.random.default_rng(number), 48, 64)
        mask.save(root / "masks" / f"{number:02}.png")
        pixels = np.asarray(image, np.uint16)
        if channels == 3:
            image.save(root / "images" / f"{number:02}.jpg")
        else:
            layout: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
            tifffile.imwrite(root / "images" / f"{number:02}.tif", 16 * pixels[..., [0, 1, 2, 0]], **layout)
    (root / "class_names.txt").write_text("\n".join(CLASS_NAMES))


def write_clip(path: Path) -> None:
    """A video of three frames."""
    av = pytest.importorskip("av")
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            image, _ = render(np.random.default_rng(number), 48, 64)
            file.mux(stream.encode(av.VideoFrame.from_image(image)))
        file.mux(stream.encode())


def words_of(command: str) -> list[str]:
    """The words of a command, made small and for this machine."""
    _, *words = shlex.split(command)
    words = [INSTEAD.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    for options in (options for start, options in QUICK.items() if command.startswith(start)):
        own = max((at + 2 for at, word in enumerate(words) if word == "-c"), default=len(words))
        words[own:own] = options.split()  # behind the config files, before the command's own options
    for options in (options for text, options in PARTICULAR.items() if text in command):
        words += options.split()
    return words


def make_room(words: list[str]) -> None:
    """Remove the run folder of a training that starts anew: each page is read by itself, and so is each question."""
    if words[0] in ("fit", "train") and "--ckpt_path" not in words:
        named = words.index("--trainer.default_root_dir") + 1 if "--trainer.default_root_dir" in words else None
        own = f"runs/{Path(words[1]).name}" if words[0] == "train" else "runs/default"
        shutil.rmtree(words[named] if named else own, ignore_errors=True)


def check_options(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Parse a command that does not run: `--help` as its last word ends it behind the checks of places and values."""
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    printed = capsys.readouterr().out
    assert ended.value.code == 0, words
    assert all(word in printed for word in words if word.startswith("-")), words


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The number of training batches")  # of the small data, which are logged less often
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(
    page: str, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shutil.copytree(reader, tmp_path / "reader"))
    monkeypatch.setenv("DEEPLAB_DATA", "data")
    failed = []
    for command in commands_of(page):
        if reason_not_to_run(command):
            if command.startswith("deeplab "):
                check_options(shlex.split(command)[1:], capsys)
            continue
        words = words_of(command)
        make_room(words)
        with an_eighth_of_the_channels(*NUMBERS_OF_CLASSES):
            try:
                status = main(words)
            except SystemExit as end:  # of --help
                status = int(end.code or 0)
        if status != STATUS.get(command, 0):
            failed.append(f"{command}\n{capsys.readouterr().err[-2000:]}")
    assert not failed, "\n\n".join(failed)


def test_every_page_with_commands_is_run_and_no_reason_is_left_over() -> None:
    pages = {str(path.relative_to(ROOT)) for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
    assert {page for page in pages if commands_of(page)} == {*PAGES, *ELSEWHERE}
    assert all((ROOT / path).is_file() for path in ELSEWHERE.values())
    commands = [command for page in PAGES for command in commands_of(page)]
    for start in (*NOT_RUN, *QUICK, *STATUS):
        assert any(command.startswith(start) for command in commands), start
    for text in (*INSTEAD, *PARTICULAR):
        assert any(text in command for command in commands), text
    assert all(command.startswith("deeplab ") or reason_not_to_run(command) for command in commands)
