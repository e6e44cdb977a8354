import torch

from deeplab_lightning.callbacks.parameter_summary import summary
from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus


def test_parameters_part_by_part() -> None:
    with torch.device("meta"):
        network = DeepLabV3Plus(21, "resnet18")
    whole = summary(network)
    assert whole == "DeepLabV3Plus: 16.6 M parameters (backbone 11.2 M, aspp 4.1 M, decoder 1.3 M, classifier 5.4 K)"
    network.backbone.requires_grad_(False)
    assert summary(network) == f"{whole}; 5.4 M of them train"
