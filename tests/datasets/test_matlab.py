"""MATLAB files written by scipy give scipy's values; damaged files give an error of one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_array

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.matlab import read_matlab_labels

LABELS = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)


def sbd(labels: np.ndarray) -> dict[str, Any]:
    """The variables of an SBD file: sparse boundary maps, then the labels, then the classes present."""
    boundaries = np.empty((20, 1), object)
    boundaries[:, 0] = [csc_array(labels == index) for index in range(20)]
    return {"GTcls": {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": np.unique(labels)}}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i4", "u8"])
def test_labels_are_those_that_scipy_reads(tmp_path: Path, kind: str, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    names = np.array(["sky", "road"], object)
    savemat(path, {"names": names, "caption": "x", **sbd(LABELS.astype(kind))}, do_compression=compressed)
    expected = loadmat(path)["GTcls"]["Segmentation"][0, 0]
    assert np.array_equal(read_matlab_labels(path, "GTcls", "Segmentation"), expected)
    savemat(path, {"names": names, "S": LABELS.astype(kind)}, do_compression=compressed)
    assert np.array_equal(read_matlab_labels(path, "S"), LABELS)


def test_small_maps_and_the_other_byte_order(tmp_path: Path) -> None:
    """A small map fits into the tag of its element: up to four bytes are stored there."""
    path = tmp_path / "a.mat"
    savemat(path, {"S": LABELS[:2, :2]})
    assert np.array_equal(read_matlab_labels(path, "S"), LABELS[:2, :2])
    big = b"MATLAB 5.0".ljust(124) + b"\1\0MI"
    flags, shape, name = (6, bytes([0, 0, 0, 9, 0, 0, 0, 0])), (5, bytes([0, 0, 0, 3, 0, 0, 0, 2])), (1, b"S")
    parts = [flags, shape, name, (2, bytes(range(6)))]
    body = b"".join(
        kind.to_bytes(4, "big") + len(part).to_bytes(4, "big") + part + bytes(-len(part) % 8) for kind, part in parts
    )
    path.write_bytes(big + (14).to_bytes(4, "big") + len(body).to_bytes(4, "big") + body)
    assert read_matlab_labels(path, "S").tolist() == [[0, 3], [1, 4], [2, 5]]


def test_formats_that_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    with pytest.raises(DataError, match=r"a\.mat: .*HDF5.*7\.3.*-v7"):
        read_matlab_labels(path, "S")
    savemat(path, {"S": LABELS}, format="4")
    with pytest.raises(DataError, match=r"a\.mat: cannot be read as a MATLAB file"):
        read_matlab_labels(path, "S")


def test_the_decompressed_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"S": np.zeros((1000, 1000), np.uint8)}, do_compression=True)
    monkeypatch.setattr("deeplab_lightning.datasets.matlab.MAX_BYTES", 10_000)
    with pytest.raises(DataError, match=r"a\.mat: .*larger than 10000 bytes"):
        read_matlab_labels(path, "S")


@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_files_give_labels_or_a_data_error(tmp_path: Path, compressed: bool) -> None:
    """The files are cut at many places, and 300 have some bytes changed."""
    path, rng = tmp_path / "a.mat", np.random.default_rng(0)
    savemat(path, sbd(LABELS), do_compression=compressed)
    whole = path.read_bytes()
    cuts = [whole[:size] for size in range(0, len(whole), 41)]
    changed = []
    for _ in range(300):
        values = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(120, len(whole), rng.integers(1, 5))
        values[places] = rng.choice([0, 1, 4, 127, 128, 255, *rng.integers(0, 256, 3)], len(places))
        changed.append(values.tobytes())
    refused = []
    for content in [*cuts, *changed]:
        path.write_bytes(content)
        try:
            assert read_matlab_labels(path, "GTcls", "Segmentation").dtype == np.uint8
        except DataError as error:
            refused.append(str(error))
    assert len(refused) >= len(cuts)
    assert all(sentence.startswith(f"{path}: ") for sentence in refused)
