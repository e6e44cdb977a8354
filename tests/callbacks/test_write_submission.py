"""The settings that the callback refuses; tests/ablation/test_submission.py tests its packages."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from deeplab_lightning.callbacks.write_submission import WriteSubmission
from deeplab_lightning.datasets.submission import voc_server
from tests.callbacks.evaluated import trainer_in


@pytest.mark.parametrize(
    ("stage", "split", "images", "named"),
    [
        ("validate", "test", None, "deeplab predict"),
        ("predict", "val", None, "val and None"),
        ("predict", "test", "pictures", "pictures"),
        ("predict", "test", None, ""),
    ],
)
def test_anything_but_the_whole_test_split_is_refused(
    stage: str, split: str, images: str | None, named: str, tmp_path: Path
) -> None:
    trainer = trainer_in(tmp_path, stage, stage)
    trainer.datamodule = SimpleNamespace(
        splits={"test": split}, predict_images=images, without_masks="test", server=voc_server
    )
    if not named:
        WriteSubmission().setup(trainer, nn.Identity(), stage)  # type: ignore[arg-type]
        return
    with pytest.raises(ValueError, match=named):
        WriteSubmission().setup(trainer, nn.Identity(), stage)  # type: ignore[arg-type]
