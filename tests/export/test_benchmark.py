"""Latency and memory by engine: what is measured, compared and skipped. No test looks at a duration's length."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from deeplab_lightning import Segmenter, load
from deeplab_lightning.__main__ import main
from deeplab_lightning.commands import benchmark
from deeplab_lightning.export.benchmark import Measurement, measure
from deeplab_lightning.export.engines import ENGINES, Engine, Run
from tests.export.conftest import Exported
from tests.thin import an_eighth_of_the_channels

TORCH = [ENGINES[name] for name in ("eager", "channels_last", "bf16")]


def test_every_engine_is_measured_and_compared_with_the_first(thin_segmenter: tuple[Path, Segmenter]) -> None:
    at: list[str] = []
    measured = measure(thin_segmenter[1], TORCH, (2, 33, 41), 3, at.append)
    for each in measured:
        assert (len(each.seconds), each.size, each.device, each.skipped) == (3, (2, 33, 41), "cpu", "")
        assert min(each.seconds) > 0
        assert each.as_dict()["min_seconds"] <= each.as_dict()["median_seconds"]
    eager, channels_last, bf16 = (each.equal_labels for each in measured)
    assert eager == 1
    assert channels_last is not None
    assert channels_last > 0.99
    assert bf16 is not None
    assert 0.9 < bf16 <= 1
    names = [engine.name for engine in TORCH]
    assert at == [f"{name} at 2x33x41" for name in [*names, *names, *names, *names]]  # in turns


def test_an_engine_that_cannot_run_is_skipped_with_its_reason(
    thin_segmenter: tuple[Path, Segmenter], exported: Exported
) -> None:
    def without_compiler(segmenter: Segmenter) -> Run:
        def run(images: Tensor) -> Tensor:
            raise RuntimeError("no working C++ compiler\nlong trace")

        return run

    engines = [Engine("broken", without_compiler), *TORCH[:1]]
    broken, eager = measure(thin_segmenter[1], engines, (1, 33, 33), 1, lambda _: None)
    assert (broken.skipped, broken.seconds) == ("RuntimeError: no working C++ compiler", [])
    assert (eager.skipped, eager.equal_labels) == ("", 1)
    graph = load(exported.onnx)
    eager, onnx = measure(graph, [ENGINES["eager"], ENGINES["onnxruntime"]], (1, 33, 33), 1, lambda _: None)
    assert "checkpoint" in eager.skipped
    assert (onnx.skipped, len(onnx.seconds), onnx.equal_labels) == ("", 1, 1)


def test_the_command_prints_json(thin_segmenter: tuple[Path, Segmenter], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--sizes", "33x41", "48", "--repeats", "2", "--batch", "2", "--engines", "eager", "--threads", "1"]
    with an_eighth_of_the_channels():
        assert main(["benchmark", str(thin_segmenter[0]), *options, "--device", "cpu", "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (facts["network"], facts["threads"], facts["output_stride"]) == ("DeepLabV1", 1, 8)
    assert [(each["batch"], each["height"], each["width"], each["repeats"]) for each in facts["measurements"]] == [
        (2, 33, 41, 2),
        (2, 48, 48, 2),
    ]


def test_the_command_prints_a_table(
    thin_segmenter: tuple[Path, Segmenter], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Measurement(ENGINES["bf16"], (2, 33, 41), "cpu", [0.3, 0.1, 0.2], 5_400_000, 0.99876)
    skipped = Measurement(ENGINES["compiled"], (2, 33, 41), "cpu", skipped="RuntimeError: no [compiler]")
    monkeypatch.setattr(benchmark, "load", lambda *_, **__: thin_segmenter[1])
    monkeypatch.setattr(benchmark, "measure", lambda *_, **__: [ran, skipped])
    assert main(["benchmark", "best.ckpt"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["bf16", "2x33x41", "cpu", "bfloat16", "200.0", "100.0", "10.00", "5", "99.88", "%"] in lines
    assert ["compiled", "2x33x41", "cpu", "float32", "skipped"] in lines
    assert ["compiled", "at", "2x33x41", "was", "skipped:", "RuntimeError:", "no", "[compiler]"] in lines
    monkeypatch.setattr(benchmark, "measure", lambda *_, **__: [skipped])
    assert main(["benchmark", "best.ckpt"]) == 1
