"""The TensorFlow release's networks: logits that its own code gave on random weights, and what is refused."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deeplab_lightning.published.tensorflow import from_tensorflow

LARGEST_SHARE = 1e-4
"""The largest difference of two logits, of the spread of all."""
Variables = dict[str, NDArray[Any]]


def cases(real_data: Path) -> Iterator[tuple[str, dict[str, Any], Variables, NDArray[np.float32]]]:
    """Name, settings, variables and image of each case."""
    spec = importlib.util.spec_from_file_location("tf_parity", real_data / "checkpoints" / "tf_parity" / "cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.cases()  # type: ignore[no-any-return]


def check(real_data: Path, names: set[str]) -> None:
    """Import cases, and compare the logits of those that have some."""
    with np.load(real_data / "checkpoints" / "tf_parity" / "logits.npz") as kept:
        for name, case, variables, image in cases(real_data):
            if name in names:
                imported = from_tensorflow(variables, case["output_stride"])
                assert len(imported.used) == len(variables), name
                if name in kept:
                    pixels = torch.from_numpy(image.transpose(0, 3, 1, 2)) * 2 / 255 - 1
                    with torch.no_grad():
                        logits = imported.network.forward_features(pixels).numpy()
                    expected = kept[name].transpose(0, 3, 1, 2)
                    assert np.abs(logits - expected).max() <= LARGEST_SHARE * np.ptp(expected), name
                names.remove(name)
            if not names:
                return
    raise AssertionError(f"there are no cases {names}")


def test_xception_65_gives_the_logits_of_the_releases_code(real_data: Path) -> None:
    check(real_data, {"xception_65"})


@pytest.mark.slow
def test_every_case_is_imported_and_has_the_logits_that_are_stored(real_data: Path) -> None:
    names = {
        *("xception_65", "xception_65_os8", "xception_65_rect", "xception_41", "xception_71"),
        *("mobilenet_v2", "mobilenet_v2_os8", "mobilenet_v2_even", "mobilenet_v2_dm05", "mobilenet_v2_ade"),
        *("resnet_v1_50_beta_plain", "resnet_v1_50_beta_dec", "mobilenet_v3_large_seg", "mobilenet_v3_small_seg"),
    }
    check(real_data, names)


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
