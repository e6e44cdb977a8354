"""Loading a segmenter from a checkpoint, or from a published model's name."""

from pathlib import Path

from deeplab_lightning.published.catalogue import resolve
from deeplab_lightning.segmentation.model_file import read_model
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
        source: Checkpoint of `deeplab fit` or `deeplab weights slim`, such as runs/demo/best.ckpt, or a name of
            `deeplab weights list`.
        output_stride: Output stride in place of that of the training: 8 is finer and slower than 16.
        device: Device that the network runs on: "cpu", "cuda", "cuda:1"; "auto" is the GPU if there is one.
        value_range: Stored values that stand for black and white in images of more than 8 bits; those of the training
            if not given.

    Raises:
        DataError: Published weights cannot be downloaded.
        FileNotFoundError: There is no such file and no such name.
        OSError: The file cannot be opened.
        ValueError: The file is damaged or holds no model, or the network has no such output stride.
    """
    path = Path(resolve(str(source))).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    return Segmenter(read_model(path, output_stride), device, value_range)
