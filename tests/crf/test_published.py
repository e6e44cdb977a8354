from pathlib import Path

import pytest
import yaml

from deeplab_lightning.crf import published
from deeplab_lightning.crf.dense_crf import DenseCRF

FRAGMENTS = Path(__file__).parents[2] / "experiments" / "crf"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("deeplab_v1", published.DEEPLAB),
        ("deeplab_v1_msc", published.DEEPLAB_MSC),
        ("deeplab_v1_largefov", published.DEEPLAB_LARGEFOV),
        ("deeplab_v1_msc_largefov", published.DEEPLAB_MSC_LARGEFOV),
        ("deeplab_v1_msc_coco_largefov", published.DEEPLAB_MSC_COCO_LARGEFOV),
        ("deeplab_v2_vgg16", published.DEEPLAB_V2_VGG16),
        ("deeplab_v2_resnet101", published.DEEPLAB_V2_RESNET101),
    ],
)
def test_fragments_hold_the_published_settings(name: str, settings: DenseCRF) -> None:
    [callback] = yaml.safe_load((FRAGMENTS / f"{name}.yaml").read_text())["trainer"]["callbacks+"]
    assert callback["class_path"] == "CRFEvaluation"
    assert DenseCRF(**callback["init_args"]) == settings
    assert callback["init_args"]["normalization"] == "after"  # which the releases' settings are for


@pytest.mark.parametrize("name", ["shapes", "camvid"])
def test_settings_that_were_searched_keep_the_normalisation_of_their_search(name: str) -> None:
    [callback] = yaml.safe_load((FRAGMENTS / f"{name}.yaml").read_text())["trainer"]["callbacks+"]
    assert callback["init_args"]["normalization"] == "symmetric"


def test_every_released_model_has_its_settings() -> None:
    settings = [value for value in vars(published).values() if isinstance(value, DenseCRF)]
    assert len(set(settings)) == 9
    assert all(crf.iterations == 10 and crf.gaussian_weight in (2, 3) for crf in settings)
    assert all(crf.normalization == "after" and crf.min_probability == 0 for crf in settings)
