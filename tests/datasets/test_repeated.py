from pathlib import Path

import torch

from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.repeated import RepeatedDataset
from deeplab_lightning.datasets.transforms import TrainTransform

TRAIN = TrainTransform((32, 32), (0.5, 2.0), flip=True, color_jitter=0.2, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_first_copies_stay_and_repetitions_are_augmented_anew(shapes_root: Path) -> None:
    plain = FolderDataset(shapes_root, "train", 8, TRAIN, seed=1)
    repeated = RepeatedDataset(plain, [3, 3, 5])
    assert len(repeated) == 15
    for index in range(12):
        assert torch.equal(repeated[(index, 2)]["image"], plain[(index, 2)]["image"])
    copies = [repeated[(position, 2)] for position in (3, 12, 13)]
    assert {copy["image_id"] for copy in copies} == {"train_00003"}
    assert repeated[(14, 0)]["image_id"] == "train_00005"
    assert not torch.equal(copies[0]["image"], copies[1]["image"])
    assert not torch.equal(copies[1]["image"], copies[2]["image"])
    assert torch.equal(copies[1]["image"], RepeatedDataset(plain, [3, 3, 5])[(12, 2)]["image"])
