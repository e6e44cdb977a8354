"""SBD's lists and masks; test_voc.py tests how they are joined with VOC's."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.sbd import read_sbd_ids, read_sbd_mask


def test_sbd_faults_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with pytest.raises(DataError, match=r"a\.mat: no such file"):
        read_sbd_mask(path)
    for content in (b"", b"MATLAB 5.0 and no more"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.mat: cannot be read as a MATLAB file"):
            read_sbd_mask(path)
    for variables in ({"other": 1}, {"GTcls": {"Boundaries": 1}}, {"GTcls": 3}):
        savemat(path, variables)
        with pytest.raises(DataError, match=r"a\.mat: it holds no GTcls\.Segmentation"):
            read_sbd_mask(path)
    savemat(path, {"GTcls": {"Segmentation": np.full((4, 4), 21, np.uint8)}})
    with pytest.raises(DataError, match=r"a\.mat: mask value 21 is outside the 21 classes"):
        read_sbd_mask(path)
    savemat(path, {"GTcls": {"Segmentation": np.full((4, 4), 0.5)}})
    with pytest.raises(DataError, match=r"a\.mat: its label map is float64 of shape \(4, 4\)"):
        read_sbd_mask(path)


def test_sbd_lists_that_overlap(tmp_path: Path) -> None:
    for split, text in (("train", "a\nb\n"), ("val", "c\nb\n")):
        (tmp_path / f"{split}.txt").write_text(text)
    with pytest.raises(DataError, match="'b' .*train.txt and val.txt"):
        read_sbd_ids(tmp_path)
