"""The sections of the papers that each file cites."""

import re

import pytest

from tests.integration.conftest import ROOT

SECTIONS = {
    "docs/data.md": {"4.3"},  # bootstrapping (v3)
    "deeplab_lightning/callbacks/bootstrap_hard_images.py": {"4.3"},
    "deeplab_lightning/datamodules/coco.py": {"4.3"},
    "deeplab_lightning/inference.py": {"4.2"},  # scales and mirrored inputs (v3)
    "deeplab_lightning/metrics.py": {"5"},  # trimaps (v1)
    "deeplab_lightning/schedules.py": {"5", "4.1.2", "4.1"},  # step (v1), poly (v2, v3)
    "deeplab_lightning/losses/cross_entropy.py": {"4.1"},  # logits upsampled (v3)
    "deeplab_lightning/losses/decimation.py": {"3.1"},  # labels subsampled (v1)
    "experiments/ablations/deeplab_v1_table1a.yaml": {"4.3"},  # MSc
    "experiments/ablations/deeplab_v2_test.yaml": {"4.1.2"},
    "experiments/ablations/deeplab_v3_table6.yaml": {"4.3"},  # COCO
    "experiments/ablations/deeplab_v3_table7.yaml": {"4.1", "4.3"},  # second stage, bootstrapping
    "experiments/ablations/deeplab_v3plus_figure5.yaml": {"4.4"},  # trimaps
    "experiments/ablations/deeplab_v3plus_table6.yaml": {"4.1", "4.2"},  # of v3: second stage, scales and flip
}


@pytest.mark.parametrize("path", SECTIONS)
def test_cited_sections_contain_what_is_cited(path: str) -> None:
    assert set(re.findall(r"section ([\d.]*\d)", (ROOT / path).read_text())) == SECTIONS[path]
