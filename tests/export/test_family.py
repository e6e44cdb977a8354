"""Every variant of the family becomes an ONNX file and a torch program that agree with it at other sizes."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from deeplab_lightning import Segmenter
from deeplab_lightning.description import ModelDescription
from deeplab_lightning.export.check import ExportError
from deeplab_lightning.export.exported_program import write_exported_program
from deeplab_lightning.export.onnx import write_onnx
from deeplab_lightning.models.deeplab_v2 import DeepLabV2, scaled_side
from deeplab_lightning.palette import Palette
from deeplab_lightning.segmentation.model_file import Model
from deeplab_lightning.segmentation.onnx_network import Session
from tests.models.test_networks import NETWORKS, OF_FULL_WIDTH, Builder
from tests.segmentation.models import PIXELS
from tests.thin import an_eighth_of_the_channels

OF_V2: dict[str, Builder] = {
    "v2 vgg16 at three scales": lambda: DeepLabV2(5, "vgg16", input_scales=(1, 0.75, 0.5)),
    "v2 resnet50 at one scale": lambda: DeepLabV2(5, "resnet50"),
}
"""The scales are those of the shallow network: ResNet-50 at three is a graph of 900 nodes, whose program alone takes
more than a minute of a processor to be traced and saved."""
VARIANTS = (
    *("v1 4x4", "v1 MSc", "v1 7x7", *OF_V2, "v3 resnet18", "v3 without image pooling", "v3 block4"),
    *("v3 block7", "v3+ resnet18", "v3+ two joins", "v3+ separable", "v3+ xception41", "v3+ mobilenet_v2"),
    *("v3+ mobilenet_v3", "v3+ dense prediction cell", "v3 MobileNetV2 x0.5", "LR-ASPP large", "LR-ASPP small"),
    *("smp's U-Net", "v3 smp's EfficientNet", "v3+ timm's RegNet", "v3+ timm"),
)
"""Networks of the contract test and those above; LargeFOV is exported by the other tests."""
WITHOUT_PROGRAM = {"LR-ASPP large", "LR-ASPP small"}
"""torch.export keeps their pooling for one position of the window, as in its example, and the file is refused."""


class ScaledSides(torch.nn.Module):
    """The resizing of v2's input scales."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = (scaled_side(side, 0.75, True) for side in images.shape[2:])
        rows, columns = (scaled_side(side, 0.5, True) for side in images.shape[2:])
        large = torch.nn.functional.interpolate(images, (height, width))
        return torch.cat([large.flatten(2), torch.nn.functional.interpolate(images, (rows, columns)).flatten(2)], 2)


@pytest.mark.slow
def test_sides_are_scaled_alike_in_a_graph(tmp_path: Path) -> None:
    """Sides that ONNX rounds in another way give other logits, and no error."""
    pytest.importorskip("onnxscript")
    path, module = tmp_path / "sides.onnx", ScaledSides().eval()
    shapes = ({0: "batch", 2: "height", 3: "width"},)
    program = torch.onnx.export(module, (torch.zeros(1, 1, 33, 49),), dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert program is not None
    program.save(str(path))
    session = Session(path)
    (output,) = session.outputs
    for side in range(40, 60):
        images = torch.arange(float(side * (side + 1))).view(1, 1, side, side + 1)
        assert torch.equal(torch.from_numpy(session.run(images.numpy(), output)), module(images)), side


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_agrees_with_its_files(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    with nullcontext() if name in OF_FULL_WIDTH else an_eighth_of_the_channels():
        network = (NETWORKS | OF_V2)[name]().eval().requires_grad_(False)
    for tensor in network.parameters():
        if not tensor.any():  # v1's MSc starts with a classifier of zeros
            torch.nn.init.normal_(tensor)
    palette = Palette.generated([f"class {number}" for number in range(network.num_classes)])
    description = ModelDescription(type(network).__name__, {"num_classes": network.num_classes}, palette, PIXELS)
    segmenter = Segmenter(Model(network, description, None, ""), "cpu")
    agreements = [write_onnx(segmenter, tmp_path / "a.onnx")]
    if name in WITHOUT_PROGRAM:
        with pytest.raises(ExportError, match="every size"):
            write_exported_program(segmenter, tmp_path / "a.pt2")
    else:
        agreements.append(write_exported_program(segmenter, tmp_path / "a.pt2"))
    for agreement in agreements:
        assert agreement.value_range > 0
        assert agreement.num_pixels == 111817
