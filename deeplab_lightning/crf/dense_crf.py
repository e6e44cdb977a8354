"""The fully connected CRF that DeepLab v1 and v2 end in (arXiv:1412.7062, 2.3; Kraehenbuehl and Koltun, 2011)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DenseCRF:
    """Mean field inference with an appearance and a smoothness kernel and Potts compatibility.

    The pairwise energy of two pixels with different labels is
    `bilateral_weight exp(-|dp|^2 / 2 bilateral_xy^2 - |dI|^2 / 2 bilateral_rgb^2)
    + gaussian_weight exp(-|dp|^2 / 2 gaussian_xy^2)`, p being places and I colours.

    Args:
        bilateral_weight: of the appearance kernel (w1 in the paper).
        bilateral_xy: its range in pixels (sigma alpha).
        bilateral_rgb: its range in 8-bit colour values (sigma beta).
        gaussian_weight: of the smoothness kernel (w2).
        gaussian_xy: its range in pixels (sigma gamma).
        iterations: of mean field.
    """

    bilateral_weight: float = 4.0
    bilateral_xy: float = 67.0
    bilateral_rgb: float = 3.0
    gaussian_weight: float = 3.0
    gaussian_xy: float = 1.0
    iterations: int = 10

    def __post_init__(self) -> None:
        ranges = {name: getattr(self, name) for name in ("bilateral_xy", "bilateral_rgb", "gaussian_xy")}
        weights = {name: getattr(self, name) for name in ("bilateral_weight", "gaussian_weight")}
        if min(ranges.values()) <= 0 or min(weights.values()) < 0 or self.iterations < 1:
            settings = f"{ranges}, {weights}, iterations {self.iterations}"
            raise ValueError(f"a CRF needs positive ranges, weights of at least 0, and an iteration: {settings}")

    def __call__(self, image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Refine the probabilities of one image.

        Args:
            image: (H, W, 3), 8-bit RGB.
            probabilities: (K, H, W), summing to 1 over K.

        Returns:
            (K, H, W).

        Raises:
            ModuleNotFoundError: pydensecrf is not installed.
            ValueError: image and probabilities do not fit together.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape != (*probabilities.shape[1:], 3):
            raise ValueError(
                f"the CRF needs a uint8 image (H, W, 3) and probabilities (K, H, W), got {image.dtype} {image.shape} "
                f"and {probabilities.shape}"
            )
        try:
            from pydensecrf.densecrf import DenseCRF2D
            from pydensecrf.utils import unary_from_softmax
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("the dense CRF needs pydensecrf: pip install pydensecrf2") from error
        num_classes, height, width = probabilities.shape
        field = DenseCRF2D(width, height, num_classes)
        field.setUnaryEnergy(unary_from_softmax(np.ascontiguousarray(probabilities, np.float32)))
        field.addPairwiseGaussian(sxy=self.gaussian_xy, compat=self.gaussian_weight)
        field.addPairwiseBilateral(
            sxy=self.bilateral_xy,
            srgb=self.bilateral_rgb,
            rgbim=np.ascontiguousarray(image),
            compat=self.bilateral_weight,
        )
        refined: NDArray[np.float32] = np.array(field.inference(self.iterations), np.float32)
        return refined.reshape(num_classes, height, width)

    def __str__(self) -> str:
        return (
            f"bilateral {self.bilateral_weight:g} xy {self.bilateral_xy:g} rgb {self.bilateral_rgb:g}, "
            f"gaussian {self.gaussian_weight:g} xy {self.gaussian_xy:g}, {self.iterations} iterations"
        )
