"""Mean field as the layers of a network: CRF as RNN (Zheng et al., ICCV 2015, arXiv:1502.03240)."""

import torch
from torch import Tensor, nn

from deeplab_lightning.crf.dense_crf import DenseCRF, Normalization
from deeplab_lightning.crf.mean_field import appearance_kernel, maps, rows, smoothness_kernel, softmax


class CRFRNN(nn.Module):
    """The dense CRF with learnable kernel weights and label compatibility; put behind any segmentation network.

    It starts as `DenseCRF` with the same settings: each label has the weight of the kernel, and the compatibility is
    Potts'. The ranges of the kernels are fixed, as in the paper; gradients pass through the lattice to the logits.

    Args:
        num_classes: K.
        bilateral_weight: of the appearance kernel at the start, for every label.
        bilateral_xy: its range in pixels.
        bilateral_rgb: its range in 8-bit colour values.
        gaussian_weight: of the smoothness kernel at the start, for every label.
        gaussian_xy: its range in pixels.
        iterations: of mean field at evaluation.
        training_iterations: of mean field in training; the paper takes fewer there, against vanishing gradients.
        normalization: of the messages, as `DenseCRF` has it.
    """

    def __init__(
        self,
        num_classes: int,
        bilateral_weight: float = 4.0,
        bilateral_xy: float = 67.0,
        bilateral_rgb: float = 3.0,
        gaussian_weight: float = 3.0,
        gaussian_xy: float = 1.0,
        iterations: int = 10,
        training_iterations: int = 5,
        normalization: Normalization = "after",
    ) -> None:
        super().__init__()
        start = (bilateral_weight, bilateral_xy, bilateral_rgb, gaussian_weight, gaussian_xy)
        DenseCRF(*start, min(iterations, training_iterations), normalization)  # refuses what cannot work
        self.bilateral_xy, self.bilateral_rgb, self.gaussian_xy = bilateral_xy, bilateral_rgb, gaussian_xy
        self.iterations, self.training_iterations = iterations, training_iterations
        self.normalization = normalization
        self.bilateral_weights = nn.Parameter(torch.full((num_classes,), float(bilateral_weight)))
        self.gaussian_weights = nn.Parameter(torch.full((num_classes,), float(gaussian_weight)))
        self.compatibility = nn.Parameter(1 - torch.eye(num_classes))

    def forward(self, logits: Tensor, images: Tensor) -> Tensor:
        """Refined logits (B, K, H, W).

        Args:
            logits: (B, K, H, W), the negative unary energy.
            images: uint8 (B, H, W, 3), or (B, 3, H, W) of any type with values of 0 to 255.

        Raises:
            ValueError: images and logits differ in size.
        """
        if images.dtype != torch.uint8 or images.shape[-1] != 3:
            images = images.permute(0, 2, 3, 1)
        size = (logits.shape[0], *logits.shape[2:])
        if images.shape != (*size, 3):
            raise ValueError(f"images {tuple(images.shape)} do not fit logits {tuple(logits.shape)}")
        with torch.no_grad():
            bilateral = appearance_kernel(self.normalization, images, 1.0, self.bilateral_xy, self.bilateral_rgb)
            gaussian = smoothness_kernel(self.normalization, *size, 1.0, self.gaussian_xy, logits.device)
        with torch.autocast(logits.device.type, enabled=False):
            unary = rows(logits if logits.dtype == torch.float64 else logits.float())
            refined = unary
            for _ in range(self.training_iterations if self.training else self.iterations):
                current = softmax(refined)
                message = self.bilateral_weights * bilateral.filter(current)
                message = message + self.gaussian_weights * gaussian.filter(current)
                refined = unary - message @ self.compatibility.T
        return maps(refined, size)
