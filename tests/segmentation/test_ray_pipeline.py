"""What runs on Ray's processes, without Ray; tests/integration/test_segment_on_ray.py runs it on clusters."""

import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning import Segmenter, extras
from deeplab_lightning.segmentation.inputs import Item
from deeplab_lightning.segmentation.pipeline import Division
from deeplab_lightning.segmentation.ray_pipeline import Network, Processor, RayPipeline, block_size, cluster
from deeplab_lightning.segmentation.segmenter import Method
from deeplab_lightning.segmentation.stages import Batch, Stages


class Held(Network):
    """An actor's object whose model comes from this process."""

    def __init__(self, stages: Stages, segmenter: Segmenter) -> None:
        self.stages, self.segmenter, self.division = stages, segmenter, Division(1, 1, 1)


@pytest.mark.parametrize(("size", "is_large"), [((20, 24), False), ((20, 300), True)])
def test_actors_write_large_images_themselves(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], is_large: bool
) -> None:
    """Otherwise the scores of an image that is as large as the disk would travel to another process."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)).save("a.png")
    stages = Stages(segmenter, Path("out"), Method(tile=256), ["masks"], crf_in_writing=True)
    processor = Processor(stages, str(tmp_path), Division(1, 1, 1))
    row = Held(stages, segmenter)(processor.read({"batch": Batch([Item(Path("a.png"), "a")], {})}))
    mask = tmp_path / "out" / "masks" / "a.png"
    assert mask.exists() is is_large
    assert "masks/a.png" in processor.write(row)["outcomes"]
    assert np.asarray(Image.open(mask)).shape == size


def test_a_task_takes_several_batches_if_there_are_many() -> None:
    assert [block_size(number) for number in (1, 4000, 10_000, 10_000_000)] == [1, 1, 3, 16]


def test_what_cannot_work_is_refused(segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Stages(segmenter, tmp_path, Method(), ["masks"])
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"deeplab_lightning\[ray\]"):
        RayPipeline(segmenter, stages)
    monkeypatch.undo()
    pytest.importorskip("ray")
    with pytest.raises(ValueError, match="cuda:1"):
        RayPipeline(segmenter, stages, device="cuda:1")


def test_an_address_without_a_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # without listening, it refuses connections
        address = f"127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(RuntimeError, match=address), cluster():
            pass
