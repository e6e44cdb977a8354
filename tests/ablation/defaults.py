"""Code whose defaults have changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deeplab_lightning.ablation import protocol
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module


@contextmanager
def changed_default(**defaults: Any) -> Iterator[None]:
    """Give arguments of `DeepLabV3Module` other defaults."""
    before = {key: protocol._parsed(DeepLabV3Module, None)[key] for key in defaults}
    try:
        _set(defaults)
        yield
    finally:
        _set(before)


def _set(defaults: dict[str, Any]) -> None:
    protocol._parser(DeepLabV3Module).set_defaults(defaults)
    protocol._parsed.cache_clear()
