"""The hashes that identify results must not change; see digests.yaml."""

from pathlib import Path

import pytest
import yaml

from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table

ABLATIONS = Path(__file__).parents[2] / "experiments" / "ablations"
DIGESTS = yaml.safe_load((Path(__file__).parent / "digests.yaml").read_text())


@pytest.mark.parametrize("key", DIGESTS)
def test_hashes_of_settings_are_unchanged(key: str) -> None:
    name, scale = key.split()
    plan = plan_table(read_table(ABLATIONS / f"{name}.yaml"), scale, names=list(DIGESTS[key]))
    found = {
        each.row.name: [each.training.name.partition("_")[0], each.evaluation and each.evaluation.digest]
        for each in plan.rows
        if each.training is not None
    }
    assert found == DIGESTS[key]
