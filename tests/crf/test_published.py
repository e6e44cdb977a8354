from pathlib import Path
from typing import Any

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


def test_a_crf_is_found_by_its_name() -> None:
    assert published.crf_named("deeplab_msc", None) is published.DEEPLAB_MSC
    assert published.crf_named("checkpoint", {"bilateral_xy": 62.5}) == DenseCRF(bilateral_xy=62.5)


@pytest.mark.parametrize(
    ("name", "found", "named"),
    [
        ("vgg", None, "'vgg'.*deeplab_v2_vgg16"),
        ("checkpoint", None, "crf-search"),
        ("checkpoint", {"sigma": 3}, "checkpoint.*'sigma'"),
        ("checkpoint", {"bilateral_xy": -1}, "checkpoint.*-1"),
        ("checkpoint", {"bilateral_xy": "3"}, "checkpoint.*'str'"),
    ],
)
def test_a_crf_that_cannot_be_used_is_named(name: str, found: dict[str, Any] | None, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        published.crf_named(name, found)
