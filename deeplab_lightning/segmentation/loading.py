"""Loading a segmenter from a checkpoint, a folder, or the name of a published model or of a model on the hub."""

from pathlib import Path

import torch

from deeplab_lightning.published import hub
from deeplab_lightning.published.catalogue import resolve
from deeplab_lightning.segmentation.model_file import Model, read_model
from deeplab_lightning.segmentation.model_folder import read_folder
from deeplab_lightning.segmentation.onnx_network import ONNXNetwork, read_onnx
from deeplab_lightning.segmentation.segmenter import Segmenter


def load(
    source: str | Path,
    *,
    output_stride: int | None = None,
    device: str = "auto",
    value_range: tuple[float, float] | None = None,
) -> Segmenter:
    """Load a trained model to segment images with.

    Args:
        source: Checkpoint of `deeplab fit` or `deeplab weights slim`, such as runs/demo/best.ckpt; folder of
            `deeplab hub save`; ONNX file of `deeplab export`; name of `deeplab weights list`; or OWNER/NAME or
            OWNER/NAME@REVISION on the hub.
        output_stride: Output stride in place of that of the training: 8 is finer and slower than 16.
        device: Device that the network runs on: "cpu", "cuda", "cuda:1"; "auto" is the GPU if there is one.
        value_range: Stored values that stand for black and white in images of more than 8 bits; those of the training
            if not given.

    Raises:
        DataError: Published weights, or a model of the hub, cannot be downloaded.
        FileNotFoundError: There is no such file and no such name.
        ModuleNotFoundError: It is an ONNX file, and onnxruntime is not installed.
        OSError: The file cannot be opened.
        ValueError: The file is damaged or holds no model, the network has no such output stride, or there is no such
            device.
    """
    _check_device(device)
    model = find_model(source, output_stride)
    if isinstance(model.network, ONNXNetwork):
        if device not in ("auto", "cpu"):
            raise ValueError(
                f"{source}: onnxruntime runs on the CPU here, not on {device}; segment with the checkpoint"
            )
        device = "cpu"
    return Segmenter(model, device, value_range)


def find_model(source: str | Path, output_stride: int | None = None) -> Model:
    """Read a model from any source that `load` takes.

    Args:
        source: Checkpoint, folder or name.
        output_stride: Output stride in place of that of the training.

    Raises:
        As `load`.
    """
    path = Path(resolve(str(source))).expanduser()
    if not path.exists() and hub.is_repository(str(source)):
        path = hub.fetch(str(source))
    if path.is_dir():
        return read_folder(path, output_stride)
    if not path.is_file():
        on_hub = f"; a model of the hub would be {source}@main" if hub.is_repository(f"{source}@main") else ""
        raise FileNotFoundError(f"{path}: no such checkpoint{on_hub}")
    if path.suffix == ".pt2":
        raise ValueError(
            f"{path}: torch would execute code in it to load it; segment with the checkpoint, or with an ONNX file"
        )
    if path.suffix == ".onnx":
        if output_stride is not None:
            raise ValueError(f"{path}: the output stride is fixed in an ONNX file; export it with --output_stride")
        return read_onnx(path)
    return read_model(path, output_stride)


def _check_device(name: str) -> None:
    """Refuse a device that this machine lacks before a large model is read for it."""
    try:
        torch.zeros(0, device=None if name == "auto" else name)
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, RuntimeError) as error:  # torch without CUDA raises the former
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise ValueError(f"no device {name!r} can be used here, but cpu can ({reason})") from error
