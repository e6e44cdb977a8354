"""The optional libraries: the extra of this package that installs each, and the sentence that asks for it.

`pip install "deeplab_lightning[crf,wandb]"` installs some of them, and `[all]` all.
"""

from importlib.util import find_spec

EXTRAS = {
    "albumentations": "albumentations",
    "coco": "pycocotools",
    "crf": "pydensecrf",
    "export": "onnxruntime",
    "ray": "ray",
    "serve": "gradio",
    "slurm": "submitit",
    "video": "av",
    "wandb": "wandb",
}
"""The library of each extra, by the name under which it is imported."""


def is_installed(extra: str) -> bool:
    """Whether the library of an extra can be imported.

    A folder of that name in the working directory, such as W&B's own `wandb`, is not the library.
    """
    found = find_spec(EXTRAS[extra])
    return found is not None and found.origin is not None


def require(extra: str, purpose: str) -> None:
    """Ask for an extra, by name, if its library is not installed; call it before the library is imported.

    Args:
        extra: The name of the extra.
        purpose: The subject of the sentence, such as "engine 'pydensecrf'".

    Raises:
        ModuleNotFoundError: The library is not installed.
    """
    if not is_installed(extra):
        library = EXTRAS[extra]
        raise ModuleNotFoundError(
            f'{purpose} needs {library}, which is not installed: pip install "deeplab_lightning[{extra}]"', name=library
        )
