"""Masks of your own data: values of 1 to 32 bits and colours, from PNGs and TIFFs, or a refusal that names them."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from deeplab_lightning.datasets.class_names import LabelMap
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.masks import read_folder_mask, read_labels

LABELS = np.arange(48).reshape(6, 8) % 3
COLOURS = np.array([[70, 130, 180], [128, 64, 128], [0, 0, 0]], np.uint8)
BY_COLOUR: LabelMap = {(70, 130, 180): 0, (128, 64, 128): 1, (0, 0, 0): 2}
BY_VALUE: LabelMap = {(0,): 255, (300,): 0, (65535,): 1}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.bool_])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_values_of_any_number_of_bits(tmp_path: Path, kind: type, suffix: str) -> None:
    labels: np.ndarray = (LABELS % 2 if kind is np.bool_ else LABELS).astype(kind)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, labels)
    else:
        Image.fromarray(labels.astype(np.uint16) if kind is np.int32 else labels).save(path)
    assert np.array_equal(read_labels(path), labels)
    assert np.array_equal(np.asarray(read_folder_mask(path, 3, None)), labels)


def test_a_palette_gives_its_indices(tmp_path: Path) -> None:
    mask = Image.fromarray(LABELS.astype(np.uint8)).convert("P")
    mask.putpalette(COLOURS.ravel().tolist())
    for name, options in (("a.png", {}), ("a.tif", {}), ("lzw.tif", {"compression": "tiff_lzw"})):
        mask.save(tmp_path / name, **options)
        assert np.array_equal(read_labels(tmp_path / name), LABELS)
        assert np.array_equal(np.asarray(read_folder_mask(tmp_path / name, 3, BY_COLOUR)), LABELS)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_values_of_a_map(tmp_path: Path, name: str) -> None:
    values = np.array([0, 300, 65535])[LABELS].astype(np.uint16)
    (tifffile.imwrite if name.endswith("tif") else lambda path, array: Image.fromarray(array).save(path))(
        tmp_path / name, values
    )
    assert np.array_equal(np.asarray(read_folder_mask(tmp_path / name, 2, BY_VALUE)), np.array([255, 0, 1])[LABELS])
    with pytest.raises(DataError, match=rf"{re.escape(name)}: the value 65535 at x 2, y 0 is not in class_names"):
        read_folder_mask(tmp_path / name, 2, {(0,): 0, (300,): 1})
    with pytest.raises(DataError, match=rf"{re.escape(name)}: mask value 300, 65535 is outside"):
        read_folder_mask(tmp_path / name, 2, None)


def test_negative_values_are_those_of_a_map_or_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (LABELS - 1).astype(np.int16))
    mapped = read_folder_mask(tmp_path / "a.tif", 2, {(-1,): 255, (0,): 0, (1,): 1})
    assert np.array_equal(np.asarray(mapped), np.array([255, 0, 1])[LABELS])
    with pytest.raises(DataError, match=r"a\.tif: mask value -1 is outside"):
        read_folder_mask(tmp_path / "a.tif", 3, None)


def test_fractions_channels_and_pages_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABELS.astype(np.float32))
    tifffile.imwrite(tmp_path / "b.tif", COLOURS[LABELS], photometric="rgb")
    tifffile.imwrite(tmp_path / "c.tif", np.stack([LABELS] * 2).astype(np.uint8), photometric="minisblack")
    for name, words in (("a.tif", "float32"), ("b.tif", "3 channels"), ("c.tif", "2 pages")):
        with pytest.raises(DataError, match=rf"{re.escape(name)}: .*{words}"):
            read_labels(tmp_path / name)
    with pytest.raises(DataError, match=r"c\.tif: .*colours"):
        read_folder_mask(tmp_path / "c.tif", 2, BY_COLOUR)
    assert np.array_equal(np.asarray(read_folder_mask(tmp_path / "b.tif", 3, BY_COLOUR)), LABELS)
