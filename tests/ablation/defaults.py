"""A changed default in the code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.settings.parameters import FROM_DATA, complete, forget_completed, parser_of


@contextmanager
def changed_default(**defaults: Any) -> Iterator[None]:
    """Change the defaults of arguments of `DeepLabV3Module`."""
    before = {key: complete(DeepLabV3Module, {})[key] for key in defaults}
    try:
        _set(defaults)
        yield
    finally:
        _set(before)


def _set(defaults: dict[str, Any]) -> None:
    parser_of(DeepLabV3Module, FROM_DATA).set_defaults(defaults)
    forget_completed()
