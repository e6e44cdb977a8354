"""The fully connected CRF: batched, differentiable, on any device, and usable by itself (docs/dense_crf.md).

The names below import no Lightning, and no torch until an image is refined or a layer is made.
"""

from typing import TYPE_CHECKING

from deeplab_lightning.exports import exports

if TYPE_CHECKING:
    from deeplab_lightning.crf.crf_rnn import CRFRNN as CRFRNN
    from deeplab_lightning.crf.dense_crf import DenseCRF as DenseCRF
    from deeplab_lightning.crf.dense_crf import refine as refine
    from deeplab_lightning.crf.lattice import PermutohedralLattice as PermutohedralLattice
    from deeplab_lightning.crf.settings import CRFSettings as CRFSettings
    from deeplab_lightning.crf.settings import Pairwise as Pairwise

__getattr__ = exports(
    __name__,
    {
        "CRFRNN": "crf_rnn",
        "CRFSettings": "settings",
        "DenseCRF": "dense_crf",
        "Pairwise": "settings",
        "PermutohedralLattice": "lattice",
        "refine": "dense_crf",
    },
)
