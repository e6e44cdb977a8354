"""The fully connected CRF: batched, differentiable, on any device, and usable by itself (docs/dense_crf.md).

The names below import no Lightning, and no torch until an image is refined or a layer is made.
"""

from typing import TYPE_CHECKING, Any

from deeplab_lightning.crf.dense_crf import DenseCRF, refine
from deeplab_lightning.crf.settings import CRFSettings, Pairwise

if TYPE_CHECKING:
    from deeplab_lightning.crf.crf_rnn import CRFRNN

__all__ = ["CRFRNN", "CRFSettings", "DenseCRF", "Pairwise", "refine"]


def __getattr__(name: str) -> Any:
    if name == "CRFRNN":
        from deeplab_lightning.crf.crf_rnn import CRFRNN

        return CRFRNN
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
