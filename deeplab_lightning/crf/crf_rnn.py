"""Mean field inference as layers of a network: CRF as RNN (Zheng et al., ICCV 2015, arXiv:1502.03240)."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from deeplab_lightning.crf.mean_field import Kernel, appearance_kernel, maps, mean_field, rows, smoothness_kernel
from deeplab_lightning.crf.settings import CRFSettings


class CRFRNN(nn.Module):
    """A dense CRF with learnable kernel weights and label compatibility, to follow any segmentation network.

    It is initialised to equal `DenseCRF` with the same settings: each label has the weight of the kernel, and the
    compatibility is that of Potts. The ranges of the kernels are fixed, as in the paper. Gradients pass through the
    lattice to the logits.

    Args:
        num_classes: Number of labels K.
        training_iterations: Number of mean field updates in training. The paper takes fewer in training than at
            evaluation, against vanishing gradients.
        settings: Further settings, by the names of `CRFSettings`; the weights are initial values.
    """

    def __init__(self, num_classes: int, training_iterations: int = 5, **settings: Any) -> None:
        super().__init__()
        crf = CRFSettings(**settings)
        replace(crf, iterations=training_iterations)  # raises for an invalid number
        self.bilateral_xy, self.bilateral_rgb, self.gaussian_xy = crf.bilateral_xy, crf.bilateral_rgb, crf.gaussian_xy
        self.iterations, self.training_iterations = crf.iterations, training_iterations
        self.normalization = crf.normalization
        self.bilateral_weights = nn.Parameter(torch.full((num_classes,), float(crf.bilateral_weight)))
        self.gaussian_weights = nn.Parameter(torch.full((num_classes,), float(crf.gaussian_weight)))
        self.compatibility = nn.Parameter(1 - torch.eye(num_classes))

    def forward(self, logits: Tensor, images: Tensor) -> Tensor:
        """Return refined logits (B, K, H, W).

        Args:
            logits: Negative unary energy (B, K, H, W).
            images: Images (B, H, W, C) or (B, C, H, W) of any type with values of 0 to 255.

        Raises:
            ValueError: Images and logits differ in size.
        """
        size = (logits.shape[0], logits.shape[2], logits.shape[3])
        channels_last = images if images.shape[1:3] == size[1:] else images.permute(0, 2, 3, 1)
        if channels_last.shape[:3] != size:
            raise ValueError(f"images {tuple(images.shape)} do not fit logits {tuple(logits.shape)}")
        with torch.no_grad():
            bilateral = appearance_kernel(channels_last, self.bilateral_xy, self.bilateral_rgb, self.normalization)
            gaussian = smoothness_kernel(size, self.gaussian_xy, logits.device, self.normalization)
        with torch.autocast(logits.device.type, enabled=False):  # float32 at least
            unary = rows(logits if logits.dtype == torch.float64 else logits.float())
            # A label's message is weighted first, and then costs the other labels.
            kernels = [
                Kernel(bilateral, self.compatibility * self.bilateral_weights),
                Kernel(gaussian, self.compatibility * self.gaussian_weights),
            ]
            refined = mean_field(unary, kernels, self.training_iterations if self.training else self.iterations)
        return maps(refined, size)
