"""Modules that reload from their checkpoints: with the class that wrote them and every argument of their network."""

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from jsonargparse import ArgumentParser
from lightning import LightningModule

import deeplab_lightning.modules
from deeplab_lightning.checkpoint_file import read_checkpoint


class ReloadableModule(LightningModule):
    """A module whose checkpoints name its class."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the name of the class, and let a reload skip weights that the checkpoint replaces anyway."""
        checkpoint["module"] = type(self).__name__
        checkpoint["hyper_parameters"] |= {"pretrained": False, "start_from": None}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **kwargs: Any) -> Self:  # type: ignore[override]
        """Build the module that wrote a checkpoint, of this class or a subclass; code in the file is not executed.

        Args:
            checkpoint_path: Path of the file.
            kwargs: Settings that replace those in the checkpoint, and the arguments of Lightning's method of this name.

        Raises:
            ValueError: The file is damaged or not a checkpoint, or holds a module of an unknown class or of one that
                does not derive from this class.
        """
        name = read_checkpoint(checkpoint_path).get("module")
        own = {kind.__name__: kind for kind in _with_descendants(cls)}
        if name is None and len(own) > 1:
            *others, last = sorted(own.keys() - {cls.__name__})
            raise ValueError(
                f"{checkpoint_path}: an older version wrote it, without the name of its class; call "
                f"load_from_checkpoint of {', '.join(others)} or {last}"
            )
        if name is not None and name not in own:
            raise ValueError(f"{checkpoint_path}: it holds a {name}, but a {cls.__name__} was asked for")
        kind = cls if name is None else own[name]
        if kind is not cls:
            return kind.load_from_checkpoint(checkpoint_path, **kwargs)
        return super().load_from_checkpoint(checkpoint_path, **kwargs | {"weights_only": True})


@cache
def network_defaults(kind: type[LightningModule]) -> dict[str, Any]:
    """Return the default of every argument of the network that a module class configures.

    The command line reads the signatures behind `configure_network` in the same way, so that a module built from Python
    has the same hyperparameters as one built from a file.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_method_arguments(kind, "configure_network", skip={"num_classes"}, fail_untyped=False)
    defaults: dict[str, Any] = parser.get_defaults().as_dict()
    return defaults


def _with_descendants(kind: type[ReloadableModule]) -> list[type[Any]]:
    """List a class and all its subclasses, after importing those of this package."""
    for module in pkgutil.iter_modules(deeplab_lightning.modules.__path__, "deeplab_lightning.modules."):
        import_module(module.name)
    kinds = [kind]
    for each in kinds:
        kinds += each.__subclasses__()
    return kinds
