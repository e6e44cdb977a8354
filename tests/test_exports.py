from importlib import import_module
from pathlib import Path

import pytest

import deeplab_lightning
from deeplab_lightning.exports import exports

ROOMS = ["", ".callbacks", ".crf", ".datamodules", ".datasets", ".models", ".modules", ".segmentation"]


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_found(room: str) -> None:
    package = import_module(f"deeplab_lightning{room}")
    source = Path(str(package.__file__)).read_text()
    names = [line.split('"')[1] for line in source.splitlines() if line.startswith('        "')]
    assert len(names) >= 4
    for name in names:
        assert getattr(package, name) is getattr(package, name)
        assert f" as {name}\n" in source.replace(",", "\n")  # for type checkers as well
    with pytest.raises(AttributeError, match="Unknown"):
        package.Unknown  # noqa: B018


def test_a_name_is_imported_at_its_first_use() -> None:
    get = exports("deeplab_lightning", {"IGNORE_INDEX": "missing_module"})
    with pytest.raises(ModuleNotFoundError, match="missing_module"):
        get("IGNORE_INDEX")
    assert deeplab_lightning.IGNORE_INDEX == 255
