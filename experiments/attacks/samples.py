"""Valid inputs of every kind, which are then mutated."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_array

from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
from deeplab_lightning.description import DESCRIPTION, ModelDescription, PixelNormalization
from deeplab_lightning.identity import EvaluationIdentity
from deeplab_lightning.models.build import build_network
from deeplab_lightning.palette import Palette
from deeplab_lightning.scores import Score, ScoreName

Sample = tuple[str, bytes]
"""The name and the content of a file."""

MEASURED = EvaluationIdentity(
    dataset="Shapes",
    split="val",
    labels="masks",
    num_images=1,
    size_policy="whole image",
    output_stride=16,
    align_corners=True,
    scales=(1.0,),
    flip=False,
    precision="32-true",
    weights="of step 1",
)


def files(real: Path, *patterns: str) -> list[Sample]:
    """The eight smallest real files that match a pattern."""
    found = [path for pattern in patterns for path in sorted(real.glob(pattern))]
    return [(path.name, path.read_bytes()) for path in sorted(found, key=lambda path: path.stat().st_size)[:8]]


def images() -> list[Sample]:
    """Small images of all formats and modes: some have EXIF data or transparency, some formats must be refused."""
    exif = Image.Exif()
    exif[0x112], exif[0x110] = 6, "camera"
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    picture = Image.fromarray(pixels)
    palette = picture.quantize(16)
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) << 8)
    ways: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (picture, "JPEG", {}), (picture, "JPEG", {"exif": exif}), (picture, "JPEG", {"progressive": True}),
        (picture.convert("CMYK"), "JPEG", {}), (picture.convert("L"), "JPEG", {}), (picture, "PNG", {"exif": exif}),
        (palette, "PNG", {"transparency": bytes(range(16))}), (deep, "PNG", {}), (picture.convert("RGBA"), "PNG", {}),
        (picture.convert("1"), "PNG", {}), (picture, "WEBP", {"exif": exif}), (picture, "BMP", {}),
        (palette, "GIF", {}), (picture, "TIFF", {}), (picture, "EPS", {}),
    ]  # fmt: skip
    return [("image.jpg", saved(image, name, **options)) for image, name, options in ways]


def pictures() -> list[Sample]:
    """Images for a model: those of all formats, and TIFFs of 16 bits, floats, four channels and several pages."""
    values = np.random.default_rng(1).integers(0, 4096, (30, 40, 4), np.uint16)
    colours, channels = {"photometric": "rgb"}, {"photometric": "minisblack", "planarconfig": "contig"}
    ways: list[tuple[Any, dict[str, Any]]] = [
        (values[..., :3], colours), (values[..., :3], colours | {"compression": "zlib"}), (values, channels),
        (values[..., 0], {"photometric": "minisblack"}), ((values[..., :3] / 4095).astype(np.float32), colours),
        (np.stack([values[..., :3]] * 2), colours),
    ]  # fmt: skip
    tiffs = []
    for pixels, options in ways:
        file = BytesIO()
        tifffile.imwrite(file, pixels, **options)
        tiffs.append(("image.tif", file.getvalue()))
    return images() + tiffs


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    """The bytes of an image saved in a format."""
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def masks() -> list[Sample]:
    """Masks: grey and palette ones with class indices, and an RGB one, which must be refused."""
    grey = Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(30, 40) % 21)
    return [("mask.png", saved(each, "PNG")) for each in (grey, grey.convert("P"), Image.new("RGB", (40, 30)))]


def matlab_files(root: Path) -> list[Sample]:
    """Label maps in SBD's form, compressed and not, and one that is not a struct."""
    labels = np.arange(1200, dtype=np.uint8).reshape(30, 40) % 21
    boundaries = np.empty((20, 1), object)
    boundaries[:, 0] = [csc_array(labels == index) for index in range(20)]
    own = {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": np.unique(labels)}
    contents = []
    for variables, small in (({"GTcls": own}, True), ({"GTcls": own}, False), ({"S": labels}, False)):
        savemat(root / "labels.mat", variables, do_compression=small)
        contents.append(("labels.mat", (root / "labels.mat").read_bytes()))
    return contents


def coco(root: Path) -> Sample:
    """Annotations of four images: polygons, a crowd in runs, and the same compressed."""
    (root / "train2017").mkdir(parents=True)
    for number in range(1, 5):
        (root / "train2017" / f"{number}.jpg").touch()
    shapes: list[Any] = [
        [[5, 5, 25.5, 5, 25, 25]], [[1, 1, 9, 1, 9, 9, 1, 9], [30, 30, 40, 30, 40, 40]],
        {"size": [60, 80], "counts": [100, 200, 4500]}, {"size": [60, 80], "counts": "T38d0"},
    ]  # fmt: skip
    records = [{"id": each, "file_name": f"{each}.jpg", "width": 80, "height": 60} for each in range(1, 5)]
    annotations = [
        {"id": each, "image_id": each, "category_id": 18, "segmentation": shape, "area": 9.5, "iscrowd": each > 2}
        for each, shape in enumerate(shapes, 1)
    ]
    content = {"images": records, "annotations": annotations, "categories": [{"id": 18, "name": "dog"}]}
    return "annotations/instances_train2017.json", json.dumps(content).encode()


def lists() -> list[Sample]:
    """Lists of ids in several encodings."""
    text = "".join(f"2007_{number:06d}\r\n" for number in range(40)) + "straße\n"
    return [
        ("train.txt", text.encode(encoding)) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1")
    ]


def class_files() -> list[Sample]:
    """Class names, alone, with colours and with values."""
    colored = "sky 70 130 180\nroad way 128 64 128\nvoid 0 0 0\n"
    texts = ("sky\nroad\ntree\n", "sky = 1\nroad = 255\nvoid = 0\n", colored, "nothing\nstraße\n")
    return [("class_names.txt", text.encode()) for text in texts]


def checkpoint(root: Path) -> Sample:
    """A tiny checkpoint, saved in the package's way."""
    content = {
        "state_dict": {"network.weight": torch.arange(60.0).view(3, 20), "network.bias": torch.zeros(3)},
        "epoch": 1, "global_step": 7, "hyper_parameters": {"num_classes": 3, "class_names": ["sky", "road", "tree"]},
        "pytorch-lightning_version": "2.6.0",
    }  # fmt: skip
    AtomicCheckpointIO().save_checkpoint(content, root / "last.ckpt")
    return "last.ckpt", (root / "last.ckpt").read_bytes()


def model() -> Sample:
    """A checkpoint of a small network with its description."""
    arguments = {"num_classes": 3, "backbone": "mobilenet_v2", "aspp_channels": 8, "atrous_rates": [1]}
    network = build_network("DeepLabV3", arguments)
    description = ModelDescription(
        network="DeepLabV3",
        arguments=arguments,
        palette=Palette.voc(("sky", "road", "tree")),
        normalization=PixelNormalization((0.5, 0.4, 0.3), (0.2, 0.2, 0.2)),
        crf={"bilateral_xy": 50.0, "iterations": 10},
        score=Score(ScoreName("val", "miou"), 0.5, MEASURED.as_dict()),
    )
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    file = BytesIO()
    torch.save({"state_dict": tensors, DESCRIPTION: description.as_dict()}, file)
    return "model.ckpt", file.getvalue()
