"""The TensorFlow release's networks: logits that its own code gave on random weights, and what is refused."""

import gzip
import importlib.util
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.published.tensorflow import from_tensorflow, start_from_tensorflow
from deeplab_lightning.published.tensorflow_names import mobilenet_places

LARGEST_SHARE = 1e-4
"""The largest difference of two logits, of the spread of all."""
Variables = dict[str, NDArray[Any]]


Case = tuple[str, dict[str, Any], Variables, NDArray[np.float32]]


def cases(real_data: Path) -> Iterator[Case]:
    """Name, settings, variables and image of each case."""
    module = parity(real_data)
    return module.cases()  # type: ignore[no-any-return]


def parity(real_data: Path) -> ModuleType:
    """The program that draws the cases."""
    spec = importlib.util.spec_from_file_location("tf_parity", real_data / "checkpoints" / "tf_parity" / "cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prediction_cells(real_data: Path) -> Iterator[Case]:
    """Xception-71 with the dense prediction cell at two output strides, drawn as the other cases are."""
    draw = vars(parity(real_data))["_draw"]  # the numbers must be those of the program
    with gzip.open(real_data / "checkpoints" / "tf" / "variables.json.gz") as file:
        shapes = dict(json.load(file)["xception_71_dpc"])
    for suffix, output_stride in (("", 16), ("_os8", 8)):
        rng = np.random.default_rng(0)
        variables = {name: draw(rng, "xception_71_dpc", name, shape) for name, shape in shapes.items()}
        image = rng.integers(0, 256, (1, 129, 193, 3)).astype(np.float32)
        yield f"xception_71_dpc{suffix}", {"output_stride": output_stride}, variables, image


def expected_logits(real_data: Path) -> dict[str, NDArray[np.float32]]:
    """The stored logits: all positions of some cases, and of the others those that are multiples of a step."""
    with (
        np.load(real_data / "checkpoints" / "tf_parity" / "logits.npz") as given,
        np.load(Path(__file__).parent / "samples" / "tensorflow.npz") as kept,
    ):
        assert not set(given.files) & set(kept.files)
        return dict(given) | dict(kept)


def check(real_data: Path, names: set[str], found: Iterable[Case]) -> None:
    """Import the cases of these names and compare their logits with those that the release's own code gave."""
    kept, left = expected_logits(real_data), set(names)
    for name, case, variables, image in found:
        if name in left:
            imported = from_tensorflow(variables, case["output_stride"])
            assert set(imported.used) == set(variables), name
            pixels = torch.from_numpy(image.transpose(0, 3, 1, 2)) * 2 / 255 - 1
            with torch.no_grad():
                logits = imported.network.forward_features(pixels).numpy()
            expected = kept[name].transpose(0, 3, 1, 2)
            step = (logits.shape[2] - 1) // (expected.shape[2] - 1)
            assert np.abs(logits[:, :, ::step, ::step] - expected).max() <= LARGEST_SHARE * np.ptp(expected), name
            left.remove(name)
        if not left:
            return
    raise AssertionError(f"there are no cases {left}")


def test_xception_65_gives_the_logits_of_the_releases_code(real_data: Path) -> None:
    check(real_data, {"xception_65"}, cases(real_data))


@pytest.mark.slow
def test_every_network_gives_the_logits_of_the_releases_code(real_data: Path) -> None:
    names = {
        *("xception_65", "xception_65_os8", "xception_65_rect", "xception_41", "xception_71"),
        *("mobilenet_v2", "mobilenet_v2_os8", "mobilenet_v2_even", "mobilenet_v2_dm05", "mobilenet_v2_ade"),
        *("resnet_v1_50_beta_plain", "resnet_v1_50_beta_dec", "mobilenet_v3_large_seg", "mobilenet_v3_small_seg"),
    }
    check(real_data, names, cases(real_data))
    check(real_data, {"xception_71_dpc", "xception_71_dpc_os8"}, prediction_cells(real_data))


def variable(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


SEMANTIC = {"logits/semantic/weights": variable(1, 1, 256, 21), "logits/semantic/biases": variable(21)}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"global_step": variable()}, "scopes"),
        ({"vgg_16/conv1/weights": variable(3, 3, 3, 64), **SEMANTIC}, "vgg_16"),
        ({"xception_65/entry_flow/conv1_1/weights": variable(3, 3, 3, 32)}, "xception_65"),
        ({"xception_50/entry_flow/conv1_1/weights": variable(3, 3, 3, 32), **SEMANTIC}, "50"),
        ({"resnet_v1_50/conv1/weights": variable(7, 7, 3, 64), **SEMANTIC}, "beta"),
        ({"MobilenetV1/Conv2d_0/weights": variable(3, 3, 3, 32), **SEMANTIC}, "MobilenetV1"),
        ({"MobilenetV3/Conv/weights": variable(3, 3, 3, 16)}, "decoder_conv0"),
        ({"MobilenetV2/Conv/weights_quant/min": variable(), **SEMANTIC}, "8 bits"),
        ({"xception_41/new/weights": variable(1), **SEMANTIC}, "xception_41/new/weights"),
        ({"xception_41/entry_flow/conv1_1/weights": variable(5, 5, 3, 32), **SEMANTIC}, "needs"),
    ],
)
def test_another_network_is_refused_by_what_it_has(variables: Variables, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_tensorflow(variables)


def test_an_average_is_taken_where_there_is_one_and_a_trunk_is_a_start() -> None:
    """ImageNet's MobileNetV2 of slim: 1001 classes, averages, and no layer of a segmentation network."""
    own = DeepLabV3(21, "mobilenet_v2", atrous_rates=()).state_dict()
    variables = {}
    for scope, (conv, _) in mobilenet_places("mobilenet_v2"):
        shape = own[f"{conv}.weight"].shape
        depthwise = "depthwise" in scope
        turned = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        name = f"{scope}/{'depthwise_weights' if depthwise else 'weights'}"
        variables[name] = np.zeros([shape[axis] for axis in turned], np.float32)
        variables[f"{name}/ExponentialMovingAverage"] = variables[name] + 1
        for kind in ("gamma", "beta", "moving_mean", "moving_variance"):
            variables[f"{scope}/BatchNorm/{kind}"] = variable(shape[0])
    left = {"MobilenetV2/Logits/Conv2d_1c_1x1/biases": variable(1001), "global_step": variable()}
    start = start_from_tensorflow(variables | left)
    assert set(start.tensors) == {
        name for name in own if name.startswith("backbone.") and not name.endswith("num_batches_tracked")
    }
    assert all((tensor == 1).all() for name, (_, tensor) in start.tensors.items() if tensor.ndim == 4)
    assert {*left, "MobilenetV2/Conv/weights/ExponentialMovingAverage"} <= set(start.dropped)
    assert start.settings["backbone"] == "mobilenet_v2"
    with pytest.raises(ValueError, match="logits/semantic"):
        from_tensorflow(variables)
