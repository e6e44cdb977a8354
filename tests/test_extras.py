"""Each optional library belongs to an extra of pyproject.toml, and its absence is one sentence that names the extra."""

import re
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest

from deeplab_lightning.ablation.slurm import submit
from deeplab_lightning.commands import serve
from deeplab_lightning.crf import DenseCRF
from deeplab_lightning.datasets.coco_regions import draw
from deeplab_lightning.extras import EXTRAS, is_installed, require
from deeplab_lightning.loggers import WandbSettings, wandb_mode
from deeplab_lightning.reports.wandb_runs import read_wandb

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
FOR_ALL = {"all", "dev"}
USES: dict[str, Callable[[Path], object]] = {
    "coco": lambda folder: draw([[1.0, 1.0, 5.0, 1.0, 5.0, 5.0]], 8, 8),
    "crf": lambda folder: DenseCRF(engine="pydensecrf")(np.zeros((2, 3, 3), np.uint8), np.ones((1, 2, 3))),
    "serve": lambda folder: serve.run("serve", ["best.ckpt"]),
    "slurm": lambda folder: submit([], ["ablate"], folder, folder=folder, settings={}),
    "wandb": lambda folder: (read_wandb("project"), wandb_mode(WandbSettings(log_model=True))),
}


def name_of(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0]


def test_every_extra_installs_its_library_and_no_base_dependency_is_one() -> None:
    extras = {name: list(map(name_of, given)) for name, given in PROJECT["optional-dependencies"].items()}
    assert set(extras) - FOR_ALL == set(EXTRAS)
    distributions = packages_distributions()
    for extra, library in EXTRAS.items():
        assert set(extras[extra]) & set(distributions[library])
        assert not set(extras[extra]) & set(map(name_of, PROJECT["dependencies"]))
    (every,) = PROJECT["optional-dependencies"]["all"]
    assert every == f"deeplab_lightning[{','.join(sorted(EXTRAS))}]"
    assert PROJECT["optional-dependencies"]["dev"][0] == "deeplab_lightning[all]"


@pytest.mark.parametrize("extra", USES)
def test_a_missing_library_is_asked_for_by_its_extra(
    extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, EXTRAS[extra], None)
    with pytest.raises(ModuleNotFoundError, match=rf'{EXTRAS[extra]}.*"deeplab_lightning\[{extra}\]"'):
        USES[extra](tmp_path)


def test_a_folder_of_the_same_name_is_not_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as wandb/, into which W&B writes its runs."""
    (tmp_path / "not_there").mkdir()
    monkeypatch.setitem(EXTRAS, "new", "not_there")
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed("new")
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        require("new", "this test")
    (tmp_path / "not_there" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert is_installed("new")
    require("new", "this test")
