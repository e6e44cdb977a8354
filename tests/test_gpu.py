"""The measurements on a GPU, on the processor: the runner with a stand-in for its pieces, and the pieces themselves."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_lightning.models.profile import profile
from tests.patience import PATIENCE

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
STAND_IN = """
import json, os, signal, sys
from pathlib import Path
name, out, device, seconds, *smoke = sys.argv[1:]
with Path(out, "started.txt").open("a") as file:
    print(name, file=file)
kind = Path(out, name + ".kind").read_text()
if kind == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "hangs":
    signal.pause()
if kind == "silent":
    sys.exit(3)
values = {"number": 1} if kind == "done" else None
sentence = "" if kind == "done" else "RuntimeError: out of memory"
record = {"piece": name, "device": device, "smoke": bool(smoke), "values": values, "sentence": sentence}
Path(out, name + ".json").write_text(json.dumps(record))
sys.exit(kind != "done")
"""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that imports a file of the measurements by its name."""
    for folder in ("benchmarks", "gpu"):
        monkeypatch.syspath_prepend(EXPERIMENTS / folder)
    return importlib.import_module


@pytest.fixture
def runner(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The runner, whose pieces a program stands in for: the file <piece>.kind in <tmp_path>/out says how it ends."""
    found: ModuleType = load("run")
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(found, "PROGRAM", program)
    monkeypatch.setattr(found, "SECONDS", PATIENCE)
    monkeypatch.setattr(found, "tables", lambda records: json.dumps(records))
    return found


def started(out: Path) -> list[str]:
    return (out / "started.txt").read_text().split() if (out / "started.txt").is_file() else []


def test_without_a_gpu_nothing_is_measured(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runner.main(["--out", str(tmp_path / "new")]) == 0
    assert "no GPU" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_a_piece_that_fails_stops_no_other_and_is_tried_again(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    kinds = dict(zip(runner.PIECES, ["killed", "done", "silent", "fails"], strict=False))
    for name, kind in kinds.items():
        (out / f"{name}.kind").write_text(kind)
    options = [*kinds, "--out", str(out), "--device", "cpu", "--smoke"]
    assert runner.main(options) == 1
    records = json.loads(capsys.readouterr().out)
    assert [record["piece"] for record in records] == list(kinds)
    killed, done, silent, fails = records
    assert (done["values"], done["sentence"]) == ({"number": 1}, "")
    assert "SIGKILL" in killed["sentence"]
    assert "3" in silent["sentence"]
    assert fails["sentence"] == "RuntimeError: out of memory"
    for name in kinds:
        (out / f"{name}.kind").write_text("done")
    assert runner.main(options) == 0
    assert started(out) == [*kinds, *(name for name, kind in kinds.items() if kind != "done")]
    capsys.readouterr()
    assert runner.main([*options, "--again"]) == 0
    assert len(started(out)) == 4 + 3 + 4
    assert runner.main(options[:-1]) == 0  # without --smoke: other numbers than those that are there
    assert len(started(out)) == 4 + 3 + 4 + 4


def test_a_piece_is_stopped_at_its_limit(runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, name = tmp_path / "out", next(iter(runner.PIECES))
    (out / f"{name}.kind").write_text("hangs")
    monkeypatch.setattr(runner, "SECONDS", 0.2)
    assert runner.main([name, "--out", str(out), "--device", "cpu"]) == 1
    assert "0.00333333 minutes" in json.loads((out / f"{name}.json").read_text())["sentence"]


def test_every_piece_has_a_function_and_a_table(load: Any) -> None:
    pieces = load("run").PIECES
    assert set(load("piece").MEASURES) == set(pieces)
    assert sorted(name for names in load("tables").TABLES for name in names) == sorted(pieces)


def test_unknown_pieces_are_refused(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load("run").main(["v4"])
    assert "v4" in capsys.readouterr().err


def test_training_speed_of_a_thin_network(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A way that fails, here the compiled one, has a sentence in place of numbers."""

    def no_compiler(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler was found\nand more lines")

    speed, networks, piece = load("training_speed"), load("networks"), load("piece")
    settings = {"backbone": "mobilenet_v2", "aspp_channels": 16, "low_level_channels": 8, "decoder_channels": 16}
    case = networks.Case("DeepLabV3Plus", settings, multiple=16)
    case = replace(case, peer=lambda num_classes: case.build())
    monkeypatch.setitem(networks.CASES, "v3_resnet50", case)
    monkeypatch.setattr(torch, "compile", no_compiler)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)  # it is switched on, and back after the test
    assert piece.main(["v3_resnet50", str(tmp_path), "cpu", "60", "--smoke"]) == 0
    record = json.loads((tmp_path / "v3_resnet50.json").read_text())
    assert (record["smoke"], record["sentence"], record["setting"]["torch"]) == (True, "", torch.__version__)
    odd, *shared = record["values"]["ways"]
    assert (odd["side"], {way["side"] for way in shared}) == (33, {32})
    names = ["ours, eager", speed.ALL_ROWS, "ours, blocks compiled", "ours, compiled", "peer"]
    assert [way["name"] for way in shared] == names
    assert shared.pop(3)["sentence"] == "RuntimeError: no C++ compiler was found"
    for way in (odd, *shared):
        assert way["images_per_second"] == pytest.approx(2 / way["seconds"][0])
        flops = 6 * (profile(case.build().to("meta"), way["side"], way["side"]).multiply_adds)
        assert way["flops"] == pytest.approx(flops * way["images_per_second"])
    text = load("tables").tables([record])
    assert text.count("\n| v3_resnet50 |") == 6
    assert "no C++ compiler" in text
    assert "smoke" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["v3_resnet50", "v3_resnet50_stride8", "v3plus_resnet101", "v3plus_xception65", "v1_largefov"]
)
def test_training_speed_on_the_processor(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    record = smoke(load, monkeypatch, tmp_path, name)
    assert all(way["images_per_second"] > 0 for way in record["values"]["ways"])


def smoke(load: Any, monkeypatch: pytest.MonkeyPatch, out: Path, name: str) -> dict[str, Any]:
    """The record of a piece that was run by the runner on the processor with tiny sizes."""
    runner = load("run")
    monkeypatch.setattr(runner, "SECONDS", PATIENCE)  # a loaded machine is no fault
    status = runner.main([name, "--out", str(out), "--device", "cpu", "--smoke"])
    log = (out / f"{name}.log").read_text()
    assert status == 0, log
    record: dict[str, Any] = json.loads((out / f"{name}.json").read_text())
    assert record["values"], record["sentence"] + log
    return record


@pytest.mark.parametrize("name", ["crf", "camvid"])
def test_a_piece_without_its_data_says_so(
    load: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPLAB_DATA", str(tmp_path / "nowhere"))
    assert load("piece").main([name, str(tmp_path), "cpu", "60", "--smoke"]) == 0
    record = json.loads((tmp_path / f"{name}.json").read_text())
    assert record["values"] is None
    assert str(tmp_path / "nowhere") in record["sentence"]
    assert record["sentence"] in load("tables").tables([record])


def test_a_command_is_asked_to_end_when_the_time_is_up(load: Any, tmp_path: Path) -> None:
    session, commands = load("session"), load("commands")
    program = "import signal, sys; signal.pause() if sys.argv[1] == 'waits' else sys.exit('deeplab: error: no data')"
    command = [sys.executable, "-c", program]
    over = session.Session(tmp_path, torch.device("cpu"), True, seconds=0.0)
    with pytest.raises(session.Unfinished):
        commands.together(over, [[*command, "waits"], [*command, "waits"]])
    enough = session.Session(tmp_path, torch.device("cpu"), True, seconds=PATIENCE)
    with pytest.raises(RuntimeError, match="status 1: no data"):
        commands.together(enough, [[*command, "fails"]])


def test_crf_beside_pydensecrf_on_a_small_image(load: Any, tmp_path: Path) -> None:
    pytest.importorskip("pydensecrf")
    speed, rng = load("crf_speed"), np.random.default_rng(0)
    image = rng.integers(0, 256, (24, 32, 3), np.uint8)
    probabilities = torch.randn(3, 24, 32, generator=torch.Generator().manual_seed(0)).softmax(0).numpy()
    session = load("session").Session(tmp_path, torch.device("cpu"), True, seconds=60.0)
    found = speed.compare(session, [(image, probabilities), (image[:, ::-1].copy(), probabilities)])
    assert (found["images"], found["batch"]) == (2, 2)
    assert found["equal_labels"] > 0.99
    assert min(found[name] for name in ("seconds", "seconds_in_batch", "pydensecrf_seconds", "traffic_bytes")) > 0
    values = {
        "goal": speed.GOAL,
        "copy_bytes_per_second": speed.copy_speed(1_000, session.device),
        "data": {"noise": found},
    }
    assert "| noise | 2 |" in load("tables").crf({"crf": values})


@pytest.mark.slow
def test_crf_and_camvid_on_the_processor(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_data: Path
) -> None:
    found = smoke(load, monkeypatch, tmp_path, "crf")["values"]["data"]
    assert {name: each["images"] for name, each in found.items()} == {"voc_samples": 1, "camvid": 1}
    assert all(each["equal_labels"] > 0.99 for each in found.values())
    values = smoke(load, monkeypatch, tmp_path, "camvid")["values"]
    assert 0 <= values["miou"] <= 1
    assert "camvid test, 1 images" in values["identity"]
    assert (values["steps"], values["starts"]) == (2, 1)


@pytest.mark.slow
def test_a_training_goes_on_at_the_next_start(load: Any, tmp_path: Path, real_data: Path) -> None:
    session, camvid = load("session"), load("camvid")
    over = session.Session(tmp_path, torch.device("cpu"), True, seconds=0.0)
    with pytest.raises(session.Unfinished, match="step 0 of 2"):
        camvid.measure(over)
    assert camvid.measure(session.Session(tmp_path, torch.device("cpu"), True, seconds=PATIENCE))["steps"] == 2


@pytest.mark.slow
def test_evaluation_on_the_processor(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = smoke(load, monkeypatch, tmp_path, "evaluation")["values"]["ways"]
    assert len(ways) == 3
    alone, *refined = ways.values()
    assert alone["miou_crf"] is None
    assert {way["miou"] for way in ways.values()} == {alone["miou"]}
    assert all(way["seconds"] > 0 and 0 <= way["miou_crf"] <= 1 for way in refined)


@pytest.mark.slow
def test_two_processes_on_the_processor(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = smoke(load, monkeypatch, tmp_path, "ddp")["values"]
    assert found["processes"] == 2
    assert found["grouped_difference"] == 0
    assert found["equal_matrices"]
    assert found["pixels"] > 3 * 48 * 64 * 0.8
    assert found["miou"][0] == found["miou"][1]


@pytest.mark.slow
def test_a_killed_training_on_the_processor(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = smoke(load, monkeypatch, tmp_path, "resume")["values"]["modes"]
    assert modes == {mode: {"resumed": 0.0, "second": 0.0} for mode in ("true", "false")}
