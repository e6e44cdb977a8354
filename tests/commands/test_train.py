"""`deeplab train` checks the data, prints a command that does the same, and trains."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands import train
from deeplab_lightning.commands.train import available_memory
from tests.integration.conftest import Run, deeplab  # noqa: F401  (a fixture)
from tests.thin import an_eighth_of_the_channels

OPTIONS = ["--steps", "1", "--data.num_workers", "0", "--trainer.enable_progress_bar=false", "--wandb.mode", "disabled"]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ConnectionError(
            f"the ImageNet weights of {name} cannot be downloaded (no route); set pretrained to false"
        )

    monkeypatch.setattr(train, "imagenet_state_dict", fail)
    monkeypatch.setattr(train, "available_memory", lambda: 4 << 30)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty pictures of 30x40 with masks, without lists, in the working directory."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    root = tmp_path / "my data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(20):
        mask = np.zeros((30, 40), np.uint8)
        mask[8:20, number : number + 12] = 1
        picture = rng.integers(0, 90, (30, 40, 3)) + 120 * mask[..., None]
        Image.fromarray(picture.astype(np.uint8)).save(root / "images" / f"{number}.jpg")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    (root / "class_names.txt").write_text("background\nsign\n")
    return root


def printed_command(printed: str) -> list[str]:
    """The words of the printed command, as a shell reads them."""
    _, start, rest = printed.partition("\ndeeplab fit ")
    assert start
    return shlex.split(rest.partition("\n\n")[0].replace("\\\n", " "))


def same(first: Path, second: Path) -> bool:
    one, other = (torch.load(path, weights_only=True)["state_dict"] for path in (first, second))
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_printed_command_trains_the_same(
    folder: Path,
    deeplab: Run,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    with an_eighth_of_the_channels():
        assert deeplab("train", folder.name, "--out", "runs/one", *OPTIONS) == 0
        printed = capsys.readouterr().out
        words = printed_command(printed)
        assert "runs/one" in words
        words[words.index("runs/one")] = "runs/two"
        assert deeplab("fit", *words) == 0
        assert same(Path("runs/one/last.ckpt"), Path("runs/two/last.ckpt"))
        assert "train 16" in printed
        assert "no route" in printed
        assert words[words.index("--data.split_ratio") + 1] == "[0.8,0.2,0]"
        segment = shlex.split(printed.partition("segment pictures: deeplab ")[2].splitlines()[0])
        assert deeplab(*(str(folder / "images" / "3.jpg") if word == "PICTURES" else word for word in segment)) == 0
    assert Path("out/masks/3.png").is_file()


def test_a_dry_run_prints_the_command_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(folder), "--dry_run", "--data.batch_size", "2", "--trainer.max_steps=8"]) == 0
    words = printed_command(capsys.readouterr().out)
    settings = dict(zip(words[8::2], words[9::2], strict=True))
    assert settings["--data.batch_size"] == "2"
    assert (settings["--trainer.max_steps"], settings["--trainer.val_check_interval"]) == ("8", "2")
    assert settings["--trainer.default_root_dir"] == "runs/my data"
    assert settings["--data.root"] == "my data"
    assert (settings["--data.crop_size"], settings["--model.pretrained"]) == ("[33,49]", "false")
    assert not Path("runs").exists()


def test_weights_that_can_be_had_are_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(train, "imagenet_state_dict", asked.append)
    assert main(["train", str(folder), "--dry_run"]) == 0
    assert "--model.pretrained true" in capsys.readouterr().out
    assert asked == ["mobilenet_v2"]
    assert main(["train", str(folder), "--dry_run", "--model.pretrained", "false"]) == 0
    assert asked == ["mobilenet_v2"]


def test_faults_end_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "masks" / "3.png").unlink()
    Image.new("L", (40, 30), 9).save(folder / "masks" / "4.png")
    assert main(["train", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("3: no such file", "4.png", "2 faults", "deeplab data check"))
    (folder / "class_names.txt").unlink()
    assert main(["train", str(folder)]) == 1
    assert "class_names.txt" in capsys.readouterr().out


def test_tiles_of_four_channels_and_lists(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    settings: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
    for path in list((folder / "images").iterdir()):
        tifffile.imwrite(path.with_suffix(".tif"), rng.integers(0, 4000, (30, 40, 4)).astype(np.uint16), **settings)
        path.unlink()
    (folder / "splits").mkdir()
    for split, numbers in (("train", range(16)), ("val", range(16, 20))):
        (folder / "splits" / f"{split}.txt").write_text("".join(f"{number}\n" for number in numbers))
    assert main(["train", str(folder), "--dry_run"]) == 0
    words = printed_command(capsys.readouterr().out)
    given = dict(zip(words[8::2], words[9::2], strict=True))
    assert (given["--data.in_channels"], given["--data.value_range"]) == ("4", "[0,4095]")
    assert len(given["--data.mean"].split(",")) == 4
    assert "--data.split_ratio" not in given


def test_available_memory_is_at_most_that_of_the_container(tmp_path: Path) -> None:
    for name in ("proc", "sys/fs/cgroup"):
        (tmp_path / name).mkdir(parents=True)
    assert available_memory(tmp_path) > 0
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable: 700 kB\n")
    limit, used = (tmp_path / "sys/fs/cgroup" / name for name in ("memory.max", "memory.current"))
    limit.write_text("max\n")
    used.write_text("1024\n")
    assert available_memory(tmp_path) == 700 * 1024
    limit.write_text("4096\n")
    assert available_memory(tmp_path) == 3072


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data.batch_size"], "needs a value"),
        (["--batch_size", "4"], "--batch_size"),
        (["-c", "mine.yaml"], "-c"),
        (["--trainer.devices", "2"], "one device"),
        (["--steps", "0"], "--steps"),
        (["--out", __file__], __file__),
    ],
)
def test_options_that_do_not_fit(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "somewhere", *options]) == 2
    assert words in capsys.readouterr().err


def test_folders_without_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", __file__]) == 2
    assert f"{__file__} is a file" in capsys.readouterr().err
    (tmp_path / "notes.txt").touch()
    assert main(["train", str(tmp_path)]) == 1
    assert "images/ or JPEGImages/" in capsys.readouterr().err
    (tmp_path / "images").mkdir()
    assert main(["train", str(tmp_path)]) == 1
    assert "no images" in capsys.readouterr().err
