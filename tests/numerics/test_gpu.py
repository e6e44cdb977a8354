"""The same numbers on a CUDA device."""

import pytest
import torch

from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_logits_equal_those_of_the_cpu() -> None:
    network = DeepLabV3Plus(5, "resnet18").eval()
    images = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        expected = network(images)
        torch.testing.assert_close(network.cuda()(images.cuda()).cpu(), expected, rtol=1e-3, atol=1e-3)
