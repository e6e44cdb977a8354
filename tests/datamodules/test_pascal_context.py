from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.datamodules.pascal_context import PascalContextDataModule
from tests.devkits import write_pascal_context

SMALL: dict[str, Any] = {"batch_size": 2, "crop_size": (32, 40), "num_workers": 0}


@pytest.mark.parametrize(("background", "first"), [(True, "background"), (False, "aeroplane")])
def test_the_two_tasks_have_different_classes_and_identities(tmp_path: Path, background: bool, first: str) -> None:
    labels = write_pascal_context(tmp_path / "VOC2010")
    data = PascalContextDataModule(str(tmp_path / "VOC2010"), str(labels), background, **SMALL)
    assert (data.num_classes, data.class_names[0]) == (59 + background, first)
    assert data.identity("val")["dataset"] == f"PASCAL-Context {59 + background}"
    assert len(list(data.val_dataloader())) == 2
    assert int(next(iter(data.val_dataloader()))["mask"].min()) == 0
