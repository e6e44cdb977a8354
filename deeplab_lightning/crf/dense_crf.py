"""The fully connected CRF of DeepLab v1 and v2, computed by one of two engines (v1, 4.2; v2, 3.3).

This file imports torch only when the torch engine is called, so that worker processes with pydensecrf start fast.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.crf.settings import NORMALIZATION_WORDS, CRFSettings, Pairwise

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[Any], "Tensor")
Engine = Literal["auto", "torch", "pydensecrf"]

SUM_TOLERANCE = 1e-2
"""The largest accepted difference between 1 and the sum of a pixel's probabilities; half precision needs it."""


BY_SETTINGS = Pairwise()
"""Nothing in place of the settings: ranges of 8-bit colours, and Potts compatibility."""


@dataclass(frozen=True)
class DenseCRF(CRFSettings):
    """Mean field inference with an appearance and a smoothness kernel and Potts compatibility.

    Args:
        engine: Implementation. "torch" runs on the device of the probabilities (numpy arrays: on the GPU if there is
            one). "pydensecrf" is the C++ reference, which uses one core and needs the package of that name. "auto" is
            "torch", which runs on every device and is the faster one on the CPU as well
            (experiments/benchmarks/README.md).
        min_probability: Labels below this probability in every pixel of an image are left out of the iterations and
            get probability 0; with 0, no label is left out.
    """

    engine: Engine = "auto"
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine not in get_args(Engine):
            raise ValueError(f"engine must be 'auto', 'torch' or 'pydensecrf', got {self.engine!r}")
        if not 0 <= self.min_probability < 1:
            raise ValueError(f"min_probability must be in [0, 1), got {self.min_probability}")

    @property
    def uses_torch(self) -> bool:
        """Whether the engine is torch."""
        return self.engine != "pydensecrf"

    def __call__(self, image: Any, probabilities: Array, pairwise: Pairwise = BY_SETTINGS) -> Array:
        """Refine the probabilities of one image or of a batch of images.

        The torch engine passes gradients to probabilities and compatibilities, not to the image; pydensecrf has none.

        Args:
            image: 8-bit image (H, W, C) or images (B, H, W, C), numpy or torch; other types of numbers need
                `pairwise.channel_ranges`. C is at most 18.
            probabilities: Probabilities (K, H, W) or (B, K, H, W), which sum to 1 over K, numpy or torch. The unary
                energy is their negative logarithm. For a softmax it equals the negative logits, as in the releases,
                up to a constant per pixel.
            pairwise: Ranges of channels and compatibilities of labels, in place of the settings.

        Returns:
            Refined probabilities in float32, of the same kind, shape and device.

        Raises:
            ModuleNotFoundError: The engine is pydensecrf, which is not installed.
            ValueError: Image, probabilities and `pairwise` do not fit together, or hold invalid values.
        """
        check_inputs(image, probabilities, pairwise)
        if isinstance(probabilities, np.ndarray) and not self.uses_torch:
            return self._refine_by_pydensecrf(np.asarray(image), probabilities, pairwise)
        import torch

        if isinstance(probabilities, np.ndarray):
            device = "cuda" if torch.cuda.is_available() else "cpu"
            return self(image, _tensor(probabilities).to(device), pairwise).detach().cpu().numpy()
        if not self.uses_torch:
            pixels, on_cpu = _tensor(image).cpu().numpy(), probabilities.detach().float().cpu().numpy()
            return torch.from_numpy(self._refine_by_pydensecrf(pixels, on_cpu, pairwise)).to(probabilities.device)
        from deeplab_lightning.crf.mean_field import refine_batch

        images = _tensor(image).to(probabilities.device)
        if images.ndim == 3:
            return refine_batch(
                self, images[None], probabilities[None], pairwise, min_probability=self.min_probability
            )[0]
        return refine_batch(self, images, probabilities, pairwise, min_probability=self.min_probability)

    def alive(self, probabilities: NDArray[Any]) -> NDArray[np.bool_]:
        """Return a mask (K,) of the labels that are not left out, from one image's probabilities (K, H, W).

        Raises:
            ValueError: Every label would be left out.
        """
        alive: NDArray[np.bool_] = probabilities.max((1, 2)) >= self.min_probability
        if not alive.any():
            raise ValueError(f"no label of the image reaches min_probability {self.min_probability:g} in any pixel")
        return alive

    def _refine_by_pydensecrf(
        self, image: NDArray[Any], probabilities: NDArray[Any], pairwise: Pairwise
    ) -> NDArray[np.float32]:
        from deeplab_lightning.crf.reference import refine_by_pydensecrf

        if image.ndim == 4:
            each = zip(image, probabilities, strict=True)
            return np.stack([self._refine_by_pydensecrf(*pair, pairwise) for pair in each])
        refined = np.zeros(probabilities.shape, np.float32)
        alive = self.alive(probabilities)
        refined[alive] = refine_by_pydensecrf(self, image, probabilities[alive], pairwise.of_labels(alive))
        return refined

    def __str__(self) -> str:
        pruning = f", labels that reach {self.min_probability:g}" if self.min_probability else ""
        return (
            f"bilateral {self.bilateral_weight:g} xy {self.bilateral_xy:g} rgb {self.bilateral_rgb:g}, "
            f"gaussian {self.gaussian_weight:g} xy {self.gaussian_xy:g}, {self.iterations} iterations{pruning}, "
            f"{NORMALIZATION_WORDS[self.normalization]}, "
            f"{'torch' if self.uses_torch else 'pydensecrf'}"
        )


def _tensor(values: Any) -> "Tensor":
    """Return a tensor unchanged and copy an array: torch refuses negative strides and warns of read-only arrays."""
    import torch

    return torch.from_numpy(values.copy()) if isinstance(values, np.ndarray) else values


DEFAULT = DenseCRF()


def refine(
    image: Any,
    probabilities: Array,
    *,
    crf: DenseCRF = DEFAULT,
    channel_ranges: Any = None,
    bilateral_compatibility: Any = None,
    gaussian_compatibility: Any = None,
) -> Array:
    """Refine the probabilities of one image or of a batch of images by the dense CRF, on their device.

    Args:
        image: 8-bit image (H, W, C) or images (B, H, W, C), numpy or torch.
        probabilities: Probabilities (K, H, W) or (B, K, H, W), which sum to 1 over K, numpy or torch.
        crf: The settings.
        channel_ranges: Range of each channel in its own units, which images of other than 8 bits need; see `Pairwise`.
        bilateral_compatibility: Energies (K, K) or weights (K,) of labels in the appearance kernel; see `Pairwise`.
        gaussian_compatibility: The same for the smoothness kernel.

    Returns:
        Refined probabilities in float32, of the same kind, shape and device.

    Raises:
        ValueError: The arguments do not fit together, or hold invalid values.
    """
    return crf(image, probabilities, Pairwise(channel_ranges, bilateral_compatibility, gaussian_compatibility))


def check_inputs(image: Any, probabilities: Any, pairwise: Pairwise) -> None:
    """Refuse images and probabilities that cannot be refined.

    Raises:
        ValueError: The image is not of 8 bits and its channels have no ranges, its size is not that of the
            probabilities, there are no labels, the probabilities hold NaN, are negative, or do not sum to 1, or
            `pairwise` does not fit.
    """
    shape, size = tuple(probabilities.shape), tuple(image.shape)
    if str(image.dtype).removeprefix("torch.") != "uint8" and pairwise.channel_ranges is None:
        raise ValueError(
            "the CRF needs a uint8 image (H, W, C) of 0..255, or channel_ranges in the units of another image, "
            f"got {image.dtype}"
        )
    if len(shape) not in (3, 4) or size[:-1] != (*shape[:-3], *shape[-2:]) or 0 in size:
        raise ValueError(
            "the CRF needs an image (H, W, C) and probabilities (K, H, W) of one size, or a batch of both, "
            f"got {size} and {shape}"
        )
    if shape[-3] == 0:
        raise ValueError(f"the CRF needs at least one label, got probabilities {shape}")
    values = probabilities.detach() if hasattr(probabilities, "detach") else probabilities
    least, furthest = float(values.min()), float(abs(values.sum(-3) - 1).max())
    if not (least >= 0 and furthest <= SUM_TOLERANCE):
        raise ValueError(
            "the CRF needs probabilities, at least 0 and summing to 1 over the labels (a softmax, not logits): "
            f"the least is {least:g}, and a sum misses 1 by {furthest:g}"
        )
    pairwise.check(size[-1], shape[-3])
