"""Modules that come back from their checkpoints, by the class that wrote them."""

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from lightning import LightningModule

import deeplab_lightning.modules
from deeplab_lightning.checkpoint_file import read_checkpoint


class ReloadableModule(LightningModule):
    """A module whose checkpoints name its class."""

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **kwargs: Any) -> Self:  # type: ignore[override]
        """The module that wrote a checkpoint, of this class or of one that derives from it; nothing is executed.

        Args:
            checkpoint_path: of the file.
            kwargs: see Lightning's method of this name; settings of the module, to replace those of the checkpoint.

        Raises:
            ValueError: the file is damaged or no checkpoint, or of a class that is not known here or is another one.
        """
        name = read_checkpoint(checkpoint_path).get("module")
        own = {kind.__name__: kind for kind in _with_descendants(cls)}
        if name is None and len(own) > 1:
            *others, last = sorted(own.keys() - {cls.__name__})
            raise ValueError(
                f"{checkpoint_path}: it is from before checkpoints named their class; call load_from_checkpoint of "
                f"{', '.join(others)} or {last}"
            )
        if name is not None and name not in own:
            raise ValueError(f"{checkpoint_path}: it holds a {name}, but a {cls.__name__} was asked for")
        kind = cls if name is None else own[name]
        if kind is not cls:
            return kind.load_from_checkpoint(checkpoint_path, **kwargs)
        return super().load_from_checkpoint(checkpoint_path, **kwargs | {"weights_only": True})


def _with_descendants(kind: type[ReloadableModule]) -> list[type[Any]]:
    """A class and those that derive from it, this package's included whether or not they have been imported."""
    for module in pkgutil.iter_modules(deeplab_lightning.modules.__path__, "deeplab_lightning.modules."):
        import_module(module.name)
    kinds = [kind]
    for each in kinds:
        kinds += each.__subclasses__()
    return kinds
