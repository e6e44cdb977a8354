"""Modules that come back from their checkpoints: by the class that wrote them, with every argument of their network."""

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
        """Write the class's name, and let a reload skip the weights that the checkpoint will replace."""
        checkpoint["module"] = type(self).__name__
        checkpoint["hyper_parameters"] |= {"pretrained": False, "start_from": None}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | Path, **kwargs: Any) -> Self:  # type: ignore[override]
        """Build the module that wrote a checkpoint, of this class or of one that derives from it; no code in it runs.

        Args:
            checkpoint_path: Path of the file.
            kwargs: Settings of the module in the place of those in the checkpoint, and the arguments of Lightning's
                method of this name.

        Raises:
            ValueError: The file is damaged or no checkpoint, or holds a module of a class that is unknown here or that
                does not derive from this one.
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


@cache
def network_defaults(kind: type[LightningModule]) -> dict[str, Any]:
    """The default of every argument of the network that a module class configures.

    They are read from the signatures behind `configure_network`, as the command line reads them, so that a module built
    from Python has the same hyperparameters as one built from a file.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_method_arguments(kind, "configure_network", skip={"num_classes"}, fail_untyped=False)
    defaults: dict[str, Any] = parser.get_defaults().as_dict()
    return defaults


def _with_descendants(kind: type[ReloadableModule]) -> list[type[Any]]:
    """List a class and those that derive from it; this package's are imported first."""
    for module in pkgutil.iter_modules(deeplab_lightning.modules.__path__, "deeplab_lightning.modules."):
        import_module(module.name)
    kinds = [kind]
    for each in kinds:
        kinds += each.__subclasses__()
    return kinds
