"""The fully connected CRF of DeepLab v1 and v2, computed by one of two engines (v1, 4.2; v2, 3.3).

This file imports torch only when the torch engine is called, so that worker processes with pydensecrf start fast.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.crf.settings import LEAST_PROBABILITY, NORMALIZATION_WORDS, CRFSettings

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[Any], "Tensor")
Engine = Literal["auto", "torch", "pydensecrf"]

SUM_TOLERANCE = 1e-2
"""The largest accepted difference between 1 and the sum of a pixel's probabilities; half precision needs it."""


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

    def __call__(self, image: Any, probabilities: Array) -> Array:
        """Refine the probabilities of one image or of a batch of images.

        Args:
            image: 8-bit RGB image (H, W, 3) or images (B, H, W, 3), numpy or torch.
            probabilities: Probabilities (K, H, W) or (B, K, H, W), which sum to 1 over K, numpy or torch. The unary
                energy is their negative logarithm. For a softmax it equals the negative logits, as in the releases,
                up to a constant per pixel.

        Returns:
            Refined probabilities in float32, of the same kind, shape and device.

        Raises:
            ModuleNotFoundError: The engine is pydensecrf, which is not installed.
            ValueError: Image and probabilities do not fit together, or the probabilities are invalid.
        """
        check_inputs(image, probabilities)
        if isinstance(probabilities, np.ndarray) and not self.uses_torch:
            return self._refine_by_pydensecrf(np.asarray(image), probabilities)
        import torch

        if isinstance(probabilities, np.ndarray):
            device = "cuda" if torch.cuda.is_available() else "cpu"
            refined: NDArray[np.float32] = self(image, _tensor(probabilities).to(device)).cpu().numpy()
            return refined
        if not self.uses_torch:
            pixels, on_cpu = _tensor(image).cpu().numpy(), probabilities.detach().float().cpu().numpy()
            return torch.from_numpy(self._refine_by_pydensecrf(pixels, on_cpu)).to(probabilities.device)
        from deeplab_lightning.crf.mean_field import refine

        images = _tensor(image).to(probabilities.device)
        if images.ndim == 3:
            return refine(self, images[None], probabilities[None], self.min_probability)[0]
        return refine(self, images, probabilities, self.min_probability)

    def alive(self, probabilities: NDArray[Any]) -> NDArray[np.bool_]:
        """Return a mask (K,) of the labels that are not left out, from one image's probabilities (K, H, W).

        Raises:
            ValueError: Every label would be left out.
        """
        alive: NDArray[np.bool_] = probabilities.max((1, 2)) >= self.min_probability
        if not alive.any():
            raise ValueError(f"no label of the image reaches min_probability {self.min_probability:g} in any pixel")
        return alive

    def _refine_by_pydensecrf(self, image: NDArray[np.uint8], probabilities: NDArray[Any]) -> NDArray[np.float32]:
        if image.ndim == 4:
            return np.stack([self._refine_by_pydensecrf(*pair) for pair in zip(image, probabilities, strict=True)])
        try:
            from pydensecrf.densecrf import NORMALIZE_AFTER, NORMALIZE_SYMMETRIC, DenseCRF2D
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "engine 'pydensecrf' needs its package: pip install pydensecrf2, or choose engine 'torch'"
            ) from error
        alive = self.alive(probabilities)
        _, height, width = probabilities.shape
        field = DenseCRF2D(width, height, int(alive.sum()))
        kept = probabilities[alive].astype(np.float32).reshape(-1, height * width)
        field.setUnaryEnergy(-np.log(np.maximum(kept, np.float32(LEAST_PROBABILITY))))
        normalization = NORMALIZE_AFTER if self.normalization == "after" else NORMALIZE_SYMMETRIC
        field.addPairwiseGaussian(sxy=self.gaussian_xy, compat=self.gaussian_weight, normalization=normalization)
        field.addPairwiseBilateral(
            sxy=self.bilateral_xy,
            srgb=self.bilateral_rgb,
            rgbim=image.copy(),
            compat=self.bilateral_weight,
            normalization=normalization,
        )
        refined = np.zeros(probabilities.shape, np.float32)
        refined[alive] = np.array(field.inference(self.iterations)).reshape(-1, height, width)
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


def check_inputs(image: Any, probabilities: Any) -> None:
    """Refuse images and probabilities that cannot be refined.

    Raises:
        ValueError: The image is not uint8 RGB, its size is not that of the probabilities, there are no labels, or the
            probabilities hold NaN, are negative, or do not sum to 1.
    """
    shape, size = tuple(probabilities.shape), tuple(image.shape)
    if str(image.dtype).removeprefix("torch.") != "uint8":
        raise ValueError(f"the CRF needs a uint8 image (H, W, 3) of 0..255, got {image.dtype}")
    if len(shape) not in (3, 4) or size != (*shape[:-3], *shape[-2:], 3) or 0 in size:
        raise ValueError(
            "the CRF needs an image (H, W, 3) and probabilities (K, H, W) of one size, or a batch of both, "
            f"got {size} and {shape}"
        )
    if shape[-3] == 0:
        raise ValueError(f"the CRF needs at least one label, got probabilities {shape}")
    least, furthest = float(probabilities.min()), float(abs(probabilities.sum(-3) - 1).max())
    if not (least >= 0 and furthest <= SUM_TOLERANCE):
        raise ValueError(
            "the CRF needs probabilities, at least 0 and summing to 1 over the labels (a softmax, not logits): "
            f"the least is {least:g}, and a sum misses 1 by {furthest:g}"
        )
