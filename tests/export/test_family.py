"""Every variant of the family becomes an ONNX file and a torch program that agree with it at other sizes."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from deeplab_lightning import Segmenter
from deeplab_lightning.description import ModelDescription
from deeplab_lightning.export.exported_program import write_exported_program
from deeplab_lightning.export.onnx import write_onnx
from deeplab_lightning.palette import Palette
from deeplab_lightning.segmentation.model_file import Model
from tests.models.test_networks import NETWORKS, OF_FULL_WIDTH
from tests.segmentation.models import PIXELS
from tests.thin import an_eighth_of_the_channels

VARIANTS = (
    *("v1 4x4", "v1 MSc", "v1 7x7", "v2 vgg16", "v2 resnet50", "v3 resnet18", "v3 without image pooling", "v3 block4"),
    *("v3 block7", "v3+ resnet18", "v3+ two joins", "v3+ separable", "v3+ xception41", "v3+ mobilenet_v2"),
    *("v3+ mobilenet_v3", "v3+ dense prediction cell", "LR-ASPP large", "LR-ASPP small", "smp's U-Net"),
    *("v3 smp's EfficientNet", "v3+ timm's RegNet", "v3+ timm"),
)
"""Networks of the contract test; LargeFOV is exported by the other tests."""


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_agrees_with_its_files(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    with nullcontext() if name in OF_FULL_WIDTH else an_eighth_of_the_channels():
        network = NETWORKS[name]().eval().requires_grad_(False)
    for tensor in network.parameters():
        if not tensor.any():  # v1's MSc starts with a classifier of zeros
            torch.nn.init.normal_(tensor)
    palette = Palette.generated([f"class {number}" for number in range(network.num_classes)])
    description = ModelDescription(type(network).__name__, {"num_classes": network.num_classes}, palette, PIXELS)
    segmenter = Segmenter(Model(network, description, None, ""), "cpu")
    agreements = write_onnx(segmenter, tmp_path / "a.onnx"), write_exported_program(segmenter, tmp_path / "a.pt2")
    for agreement in agreements:
        print(f"{name}: {agreement}")
        assert agreement.value_range > 0
        assert agreement.num_pixels == 77367
