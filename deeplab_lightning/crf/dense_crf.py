"""The fully connected CRF behind DeepLab v1 and v2, by either of its engines (v1, 4.2; v2, 3.3).

Nothing here imports torch before its engine is called, so that a worker process that runs pydensecrf starts at once.
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
"""The sum of a pixel's probabilities may miss 1 by this much; those of a softmax in half precision do."""


@dataclass(frozen=True)
class DenseCRF(CRFSettings):
    """Mean field inference with an appearance and a smoothness kernel and Potts compatibility.

    Args:
        engine: "torch" runs on the device of the probabilities (numpy arrays: on the GPU where there is one);
            "pydensecrf" is the C++ reference, which works on one core and needs that package. "auto" is "torch", which
            runs on every device and is the faster of the two on the CPU as well (experiments/benchmarks/README.md).
        min_probability: Labels that reach it nowhere in an image are left out of the iterations and get probability
            0; with 0 none is left out.
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
        """Whether the torch engine does the work."""
        return self.engine != "pydensecrf"

    def __call__(self, image: Any, probabilities: Array) -> Array:
        """Refine the probabilities of one image or of a batch of images.

        Args:
            image: (H, W, 3) or (B, H, W, 3), 8-bit RGB, numpy or torch.
            probabilities: (K, H, W) or (B, K, H, W), summing to 1 over K, numpy or torch. The unary energy is minus
                their logarithm: for a softmax minus the logits, as in the releases, but for a constant per pixel.

        Returns:
            float32 probabilities of the same kind, shape and device.

        Raises:
            ModuleNotFoundError: The engine pydensecrf is asked for and not installed.
            ValueError: Image and probabilities do not fit together, or they are no probabilities.
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
        """A mask (K,) of the labels of one image's probabilities (K, H, W) that are not left out.

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
                "engine 'pydensecrf' needs that package: pip install pydensecrf2, or choose engine 'torch'"
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
    """A tensor as it is; an array copied into one, as torch takes no negative strides and warns of read-only ones."""
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
            "the CRF needs probabilities, at least 0 and summing to 1 over the labels (a softmax, no logits): "
            f"the least is {least:g}, and a sum misses 1 by {furthest:g}"
        )
