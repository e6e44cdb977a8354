import sys
from pathlib import Path

import av
import numpy as np
import pytest

from deeplab_lightning import Segmenter
from deeplab_lightning.datasets import DataError
from deeplab_lightning.description import PixelNormalization
from deeplab_lightning.segmentation.pictures import PixelReader
from deeplab_lightning.segmentation.segmenter import Method
from deeplab_lightning.segmentation.video import segment_video
from tests.segmentation.clip import write_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mkv")


def decoded(path: Path, layout: str) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as file:
        return [(float(frame.time or 0), frame.to_ndarray(format=layout)) for frame in file.decode(video=0)]


def test_a_video_becomes_label_maps_and_overlays(segmenter: Segmenter, clip: Path, tmp_path: Path) -> None:
    outputs, areas = segment_video(segmenter, clip, tmp_path / "out", name="folder/clip", how=Method())
    assert outputs == ["masks/folder/clip.mkv", "overlays/folder/clip.mp4"]
    frames, masks = decoded(clip, "rgb24"), decoded(tmp_path / "out" / outputs[0], "gray")
    assert sum(areas.values()) == 5 * 33 * 41
    assert [at for at, _ in masks] == pytest.approx([at for at, _ in frames], abs=2e-3)
    for (_, pixels), (_, mask) in zip(frames, masks, strict=True):
        np.testing.assert_array_equal(mask, segmenter.segment(pixels).mask)
    overlays = decoded(tmp_path / "out" / outputs[1], "rgb24")
    assert len(overlays) == 5
    assert overlays[0][1].shape == (34, 42, 3)  # H.264 needs even sides
    assert not list((tmp_path / "out").rglob(".*"))


def test_what_is_no_video_is_refused_by_name(segmenter: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(DataError, match=r"broken.mp4: it cannot be read as a video"):
        segment_video(segmenter, path, tmp_path / "out", name="broken", how=Method())
    assert not list((tmp_path / "out").rglob("*.mp4"))


@pytest.mark.parametrize("channels", [1, 4])
def test_a_model_of_other_channels_refuses_a_video(
    segmenter: Segmenter, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    monkeypatch.setattr(segmenter, "reader", PixelReader(PixelNormalization((0.5,) * channels, (0.2,) * channels)))
    with pytest.raises(DataError, match=rf"clip\.mkv: .*3 channels.*{channels}"):
        segment_video(segmenter, clip, tmp_path / "out", name="clip", how=Method())
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_asked_for_by_its_extra(
    segmenter: Segmenter, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"deeplab_lightning\[video\]") as caught:
        segment_video(segmenter, clip, tmp_path / "out", name="folder/clip", how=Method())
    assert str(clip) in str(caught.value)
