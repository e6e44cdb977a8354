from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from deeplab_lightning import Segmenter, load
from deeplab_lightning.crf import DenseCRF
from deeplab_lightning.datasets import DataError
from deeplab_lightning.description import PixelNormalization
from deeplab_lightning.segmentation.pictures import PixelReader
from tests.segmentation.models import NAMES, describe_small, write_checkpoint

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def test_every_kind_of_image_gives_the_same(segmenter: Segmenter, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "noise.png")
    tensor = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)
    kinds: list[Any] = [tmp_path / "noise.png", str(tmp_path / "noise.png"), Image.fromarray(PIXELS), PIXELS, tensor]
    first, *others = (segmenter.segment(kind) for kind in kinds)
    assert len(first.areas) > 1
    assert sum(first.areas.values()) == 40 * 56
    assert set(first.areas) <= set(NAMES)
    for other in others:
        np.testing.assert_array_equal(other.mask, first.mask)
        np.testing.assert_array_equal(other.probabilities, first.probabilities)
        np.testing.assert_array_equal(other.image, PIXELS)
    (floats,) = segmenter.segment([tensor.float() / 255])
    assert (floats.mask == first.mask).mean() > 0.999
    assert first.probabilities is not None
    np.testing.assert_array_equal(first.probabilities.argmax(0), first.mask)
    np.testing.assert_allclose(first.probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(first.confidence, (first.probabilities.max(0) * 255).round())


def test_several_images_come_back_in_their_order(segmenter: Segmenter) -> None:
    images = [PIXELS, PIXELS[:32, :32], PIXELS[::-1], PIXELS[:, ::-1], PIXELS[:32, 8:40]]
    alone = [segmenter.segment(image).mask for image in images]
    listed = segmenter.segment(images, batch_size=4)
    assert isinstance(listed, list)
    generated = segmenter.segment(iter(images), batch_size=2, probabilities=False)
    assert isinstance(generated, Iterator)
    stacked = segmenter.segment(torch.from_numpy(np.stack([PIXELS, PIXELS[::-1]])).permute(0, 3, 1, 2))
    names: list[str] = []
    for results in (listed, list(generated)):
        names += [result.name for result in results]
        for result, mask in zip(results, alone, strict=True):
            assert (result.mask == mask).mean() > 0.999  # another batch may add in another order
    assert len(set(names)) == 10
    assert isinstance(stacked, list)
    assert stacked[0].probabilities is not None
    assert len(stacked) == 2


def test_a_generator_is_read_as_its_results_are(segmenter: Segmenter) -> None:
    def images() -> Iterator[Any]:
        yield PIXELS
        raise AssertionError("the second image is not needed yet")

    assert next(segmenter.segment(images())).mask.shape == (40, 56)


def test_scales_flip_and_crf_change_the_result(segmenter: Segmenter) -> None:
    plain = segmenter.segment(PIXELS)
    crf = DenseCRF(iterations=2, bilateral_rgb=40)
    for method in ({"scales": [0.5, 1.5]}, {"flip": True}, {"crf": crf}, {"crf": "deeplab_largefov"}):
        other = segmenter.segment(PIXELS, **method)
        assert (other.mask != plain.mask).any()
        assert other.probabilities is not None
        np.testing.assert_allclose(other.probabilities.sum(0), 1, atol=1e-4)
    refined = segmenter.segment(PIXELS, crf=crf)
    assert plain.probabilities is not None
    np.testing.assert_array_equal(refined.mask, crf(PIXELS, plain.probabilities).argmax(0))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"crf": "vgg"}, "'vgg'"),
        ({"crf": "checkpoint"}, "crf-search"),
        ({"scales": []}, r"\(\)"),
        ({"scales": [0]}, r"\(0,\)"),
        ({"batch_size": 0}, "batch_size"),
        ({"tile": 8}, "256 pixels, got 8"),
    ],
)
def test_settings_that_cannot_work_are_refused(segmenter: Segmenter, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        segmenter.segment(PIXELS, **settings)


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (PIXELS[..., :2], r"\(40, 56, 2\)"),
        (PIXELS[:0], r"\(0, 56, 3\)"),
        (PIXELS.astype(np.int64), "int64"),
        (PIXELS.astype(np.float32), "0..1"),
        (np.full((4, 4, 3), np.nan), "not finite"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(segmenter: Segmenter, image: Any, named: str) -> None:
    with pytest.raises(ValueError, match=f"image 0: .*{named}"):
        segmenter.segment(image)
    with pytest.raises(TypeError, match="image 1: a dict"):
        segmenter.segment([PIXELS, {}])  # type: ignore[list-item]


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")


@pytest.mark.parametrize(("channels", "taken"), [(1, {"1", "L", "LA"}), (2, {"LA"}), (3, set(MODES)), (4, {"RGBA"})])
def test_an_image_of_another_number_of_channels_is_refused(channels: int, taken: set[str], tmp_path: Path) -> None:
    """Whether it comes as a file or from Pillow."""
    reader = PixelReader(PixelNormalization((0.5,) * channels, (0.2,) * channels))
    for mode in MODES:
        image = Image.fromarray(PIXELS).convert(mode)
        path = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        image.save(path)
        if mode in taken:
            pixels = reader.convert(image, mode).pixels
            assert pixels.shape == (40, 56, channels)
            np.testing.assert_array_equal(reader.read_all(path)[0].pixels, pixels)
            continue
        own = {"1": 1, "L": 1, "LA": 2, "RGBA": 4}.get(mode, 3)
        with pytest.raises(ValueError, match=rf"{mode}: .*\(40, 56, {own}\).*{channels}"):
            reader.convert(image, mode)
        with pytest.raises(DataError, match=rf"{mode}\..*{channels}"):
            reader.read_all(path)


@pytest.mark.parametrize("sizes", [[(20, 30)] * 2, [(20, 30), (20, 31), (20, 30)], [(20, 30)] * 4])
def test_grey_pages_that_are_not_one_image_are_several(sizes: list[tuple[int, int]], tmp_path: Path) -> None:
    values = [np.full(size, number, np.uint8) for number, size in enumerate(sizes)]
    with tifffile.TiffWriter(tmp_path / "scan.tif") as file:
        for page in values:
            file.write(page, metadata=None)
    pictures = PixelReader(PixelNormalization((0.5,) * 3, (0.2,) * 3)).read_all(tmp_path / "scan.tif")
    assert len(pictures) == len(values)
    for picture, page in zip(pictures, values, strict=True):
        np.testing.assert_array_equal(picture.pixels, np.repeat(page[..., None], 3, 2))


def test_the_checkpoints_own_crf_and_another_output_stride(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "model.ckpt", describe_small(crf={"bilateral_xy": 20.0, "iterations": 1}))
    model = load(path, device="cpu", output_stride=8)
    assert model.network.output_stride == 8
    own = model.segment(PIXELS, crf="checkpoint").mask
    np.testing.assert_array_equal(own, model.segment(PIXELS, crf=DenseCRF(bilateral_xy=20, iterations=1)).mask)
    with pytest.raises(ValueError, match="7"):
        load(path, output_stride=7)
    with pytest.raises(FileNotFoundError, match="missing.ckpt"):
        load(tmp_path / "missing.ckpt")


def test_values_of_more_than_8_bits_are_in_the_models_range(tmp_path: Path) -> None:
    normalization = PixelNormalization((0.5,) * 3, (0.2,) * 3, (0.0, 4095.0))
    path = write_checkpoint(tmp_path / "model.ckpt", describe_small(normalization=normalization))
    values = np.random.default_rng(1).integers(0, 4096, (33, 40, 3), np.uint16)
    result = load(path, device="cpu").segment(values)
    np.testing.assert_array_equal(result.image, (values * (255 / 4095)).round())
    tifffile.imwrite(tmp_path / "deep.tif", values, photometric="rgb")
    model = load(path, device="cpu")
    assert model.reader.read(tmp_path / "deep.tif").pixels.dtype == np.uint16
    np.testing.assert_array_equal(model.segment(tmp_path / "deep.tif").mask, result.mask)
    twice = load(path, device="cpu", value_range=(0, 8190)).segment(values * 2)
    np.testing.assert_array_equal(twice.mask, result.mask)
