"""Broken and unusual inputs: each gives the right image, or an error of one sentence that names the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.datasets.class_names import read_class_names, read_label_map
from deeplab_lightning.datasets.coco import COCODataset
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.images import DataError, read_mask
from deeplab_lightning.datasets.pixels import RGB, read_pixels, read_pixels_of_mask
from deeplab_lightning.datasets.transforms import EvaluationTransform
from tests.devkits import annotation, square, write_coco

EVALUATION = EvaluationTransform((0.5,) * 3, (0.25,) * 3)
ORIENTATION = 0x0112
COLORS = np.stack(np.broadcast_arrays(np.arange(6)[:, None] * 40, np.arange(8) * 30, 128), -1).astype(np.uint8)
"""An image of 8x6 pixels, each with a colour of its own."""


class Tree:
    """A folder data set with one image `a`, whose files the test cases replace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (root / folder).mkdir(parents=True)
        (root / "class_names.txt").write_text("one\ntwo\nthree\n")
        self.ids("a\n")
        self.image_path, self.mask_path = root / "JPEGImages" / "a.png", root / "SegmentationClass" / "a.png"
        Image.fromarray(COLORS).save(self.image_path)
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8) % 3).save(self.mask_path)

    def ids(self, text: str, encoding: str = "utf-8") -> None:
        (self.root / "ImageSets/Segmentation/train.txt").write_bytes(text.encode(encoding))

    def replace_image(self, image: Image.Image, ending: str = "png", **options: Any) -> None:
        self.image_path.unlink()
        self.image_path = self.image_path.with_suffix(f".{ending}")
        image.save(self.image_path, **options)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        names = read_class_names(self.root)
        dataset = FolderDataset(self.root, "train", len(names), EVALUATION, label_map=read_label_map(self.root))
        sample = dataset[0]
        return EVALUATION.denormalize(sample["image"]).numpy(), sample["mask"].numpy()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "tree")


def rotated(tree: Tree, orientation: int, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    tree.replace_image(picture, exif=exif)


def colour_table(tree: Tree, text: str) -> None:
    (tree.root / "class_names.txt").write_text(text)


def cut(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])


def truncate_jpeg(tree: Tree) -> None:
    tree.replace_image(Image.fromarray(COLORS).resize((80, 60)), "jpg")
    cut(tree.image_path, 0.95)


def foreign_colour(tree: Tree) -> None:
    colour_table(tree, "one 1 2 3\ntwo 1 2 4\n")
    Image.new("RGB", (8, 6), (9, 9, 9)).save(tree.mask_path)


def values_for_colours(tree: Tree) -> None:
    colour_table(tree, "one = 0\ntwo = 1\n")
    Image.new("RGB", (8, 6)).save(tree.mask_path)


# A function that breaks the tree, and a pattern of the error message; file names are relative to the root.
FAULTS: dict[str, tuple[Callable[[Tree], object], str]] = {
    "truncated JPEG": (truncate_jpeg, r"JPEGImages/a\.jpg: .*truncated"),
    "truncated PNG": (lambda tree: cut(tree.image_path, 0.5), r"JPEGImages/a\.png: "),
    "zero-byte image": (lambda tree: tree.image_path.write_bytes(b""), r"JPEGImages/a\.png: "),
    "zero-byte mask": (lambda tree: tree.mask_path.write_bytes(b""), r"SegmentationClass/a\.png: "),
    "text for an image": (lambda tree: tree.image_path.write_text("<html>404"), r"JPEGImages/a\.png: "),
    "missing image": (lambda tree: tree.image_path.unlink(), r"JPEGImages/a: no such file.*train\.txt"),
    "missing mask": (lambda tree: tree.mask_path.unlink(), r"SegmentationClass/a: no such file.*train\.txt"),
    "16-bit image": (
        lambda tree: tree.replace_image(Image.fromarray(np.full((6, 8), 0x4D80, np.uint16))),
        r"JPEGImages/a\.png: .*uint16.*19840.*value_range.*\[0, 32767\]",
    ),
    "broken EXIF": (
        lambda tree: tree.replace_image(Image.fromarray(COLORS), exif=b"Exif\0\0no TIFF"),
        r"JPEGImages/a\.png: .*EXIF",
    ),
    "broken EXIF of a JPEG": (
        lambda tree: tree.replace_image(Image.fromarray(COLORS), "jpg", exif=b"Exif\0\0no TIFF"),
        r"JPEGImages/a\.jpg: .*EXIF",
    ),
    "mask of another size": (
        lambda tree: Image.new("L", (8, 5)).save(tree.mask_path),
        r"SegmentationClass/a\.png: .*8x5.*JPEGImages/a\.png is 8x6",
    ),
    "mask value 37": (
        lambda tree: Image.new("L", (8, 6), 37).save(tree.mask_path),
        r"a\.png: .*37.* 3 classes",
    ),
    "mask value 254 beside void": (
        lambda tree: Image.fromarray(np.array([[254, 255]], np.uint8)).save(tree.mask_path),
        r"a\.png: mask value 254 is",
    ),
    "RGB mask": (lambda tree: Image.new("RGB", (8, 6)).save(tree.mask_path), r"a\.png: the mask is in mode RGB"),
    "RGBA mask": (lambda tree: Image.new("RGBA", (8, 6)).save(tree.mask_path), r"a\.png: the mask is in mode RGBA"),
    "16-bit mask": (
        lambda tree: Image.fromarray(np.full((6, 8), 300, np.uint16)).save(tree.mask_path),
        r"a\.png: mask value 300 is outside the 3 classes",
    ),
    "image upside down by EXIF": (
        lambda tree: rotated(tree, 3, Image.fromarray(COLORS)),
        r"a\.png: .*orientation is 3",
    ),
    "image turned by EXIF, mask of neither size": (
        lambda tree: rotated(tree, 6, Image.new("RGB", (5, 7))),
        r"SegmentationClass/a\.png: .*8x6.*JPEGImages/a\.png is 5x7",
    ),
    "empty list": (lambda tree: tree.ids("\n\n"), r"train\.txt: it lists no ids"),
    "missing list": (
        lambda tree: (tree.root / "ImageSets/Segmentation/train.txt").unlink(),
        r"train\.txt: no such file",
    ),
    "list in Latin-1": (
        lambda tree: tree.ids("a\nstra\xdfe\n", "latin-1"),
        r"train\.txt, line 2: .*0xdf.*UTF-8",
    ),
    "list in UTF-16 without a byte order mark": (
        lambda tree: tree.ids("a\n", "utf-16-le"),
        r"train\.txt: .*UTF-16",
    ),
    "list in half of UTF-16": (
        lambda tree: (tree.root / "ImageSets/Segmentation/train.txt").write_bytes(b"\xff\xfea\0\n"),
        r"train\.txt, line 1: .*0x0a.*UTF-16",
    ),
    "duplicate id": (lambda tree: tree.ids("a\nb\na\n"), r"train\.txt, line 3: .*'a' .*twice"),
    "id with a path": (lambda tree: tree.ids("../a\n"), r"train\.txt, line 1: '\.\./a'"),
    "two words in a line": (lambda tree: tree.ids("a 1\n"), r"train\.txt, line 1: 'a 1'"),
    "id with an ending": (lambda tree: tree.ids("a.jpg\n"), r"train\.txt, line 1: 'a\.jpg'"),
    "two images of one id": (
        lambda tree: Image.fromarray(COLORS).save(tree.root / "JPEGImages" / "a.jpg"),
        r"a\.png: .*a\.jpg",
    ),
    "both layouts": (lambda tree: (tree.root / "images").mkdir(), r"tree: .*images/ and JPEGImages/"),
    "a class twice": (lambda tree: colour_table(tree, "one\none\n"), r"class_names\.txt: .*at least two"),
    "a colour for some": (lambda tree: colour_table(tree, "one 1 2 3\ntwo\n"), r"class_names\.txt: some of its names"),
    "a colour twice": (
        lambda tree: colour_table(tree, "one 1 2 3\ntwo 1 2 3\n"),
        r"class_names\.txt: the colour 1 2 3 of 'two'",
    ),
    "colours for a grey mask": (
        lambda tree: colour_table(tree, "one 1 2 3\ntwo 1 2 4\n"),
        r"a\.png: the mask is in mode L, but class_names\.txt",
    ),
    "a value for some": (
        lambda tree: colour_table(tree, "one = 1\ntwo\n"),
        r"class_names\.txt: .*a value",
    ),
    "colours and values": (
        lambda tree: colour_table(tree, "one = 1\ntwo 1 2 3\n"),
        r"class_names\.txt: .*a value",
    ),
    "a value twice": (
        lambda tree: colour_table(tree, "one = 7\ntwo=7\n"),
        r"class_names\.txt: .*7 of 'two'",
    ),
    "an unknown value": (
        lambda tree: colour_table(tree, "one = 0\ntwo = 1\nvoid = 255\n"),
        r"a\.png: .*value 2 at x 2, y 0 .*class_names\.txt",
    ),
    "values for an RGB mask": (
        values_for_colours,
        r"a\.png: the mask is in mode RGB",
    ),
    "an unknown colour": (
        foreign_colour,
        r"a\.png: .*9 9 9 at x 0, y 0 .*class_names\.txt",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_the_error_is_one_line_that_names_the_file(tree: Tree, case: str) -> None:
    breaks, message = FAULTS[case]
    breaks(tree)
    with pytest.raises(DataError, match=message) as caught:
        tree.read()
    assert str(caught.value).startswith(f"{caught.value.path}")
    assert "\n" not in str(caught.value)
    assert str(tree.root) in str(caught.value)


def test_the_tree_is_sound(tree: Tree) -> None:
    image, mask = tree.read()
    assert np.array_equal(image, COLORS)
    assert mask.tolist()[0] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_cmyk_jpeg(tree: Tree) -> None:
    tree.replace_image(Image.new("CMYK", (8, 6), (0, 255, 255, 0)), "jpg", quality=95)
    image, _ = tree.read()
    assert image[..., 0].min() > 200
    assert image[..., 1:].max() < 60


def test_grey_jpeg(tree: Tree) -> None:
    tree.replace_image(Image.new("L", (8, 6), 77), "jpg")
    assert (abs(tree.read()[0].astype(int) - 77) <= 1).all()


def test_transparency_is_dropped(tree: Tree) -> None:
    tree.replace_image(Image.fromarray(np.dstack([COLORS, np.full((6, 8), 9, np.uint8)])))
    assert np.array_equal(tree.read()[0], COLORS)


def test_palette_image(tree: Tree) -> None:
    tree.replace_image(Image.fromarray(COLORS).convert("P", palette=Image.Palette.ADAPTIVE, colors=64))
    assert np.array_equal(tree.read()[0], COLORS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_list_with_foreign_line_ends_and_a_byte_order_mark(tree: Tree, encoding: str) -> None:
    tree.ids("a\r\n\r\n", encoding)
    assert np.array_equal(tree.read()[0], COLORS)


def test_image_turned_by_exif(tree: Tree) -> None:
    """Orientation 6 is displayed a quarter turn clockwise; the mask's size shows how the image was labelled."""
    stored = Image.fromarray(COLORS)
    rotated(tree, 6, stored)  # its mask fits it as stored
    assert np.array_equal(tree.read()[0], COLORS)
    shown = stored.transpose(Image.Transpose.ROTATE_270)
    Image.new("L", shown.size).save(tree.mask_path)
    assert np.array_equal(tree.read()[0], np.asarray(shown))
    assert np.array_equal(read_pixels(tree.image_path), np.asarray(shown))  # for prediction


@pytest.mark.parametrize("orientation", [0, 1, 9, 65535])
def test_orientations_that_mean_upright(tree: Tree, orientation: int) -> None:
    rotated(tree, orientation, Image.fromarray(COLORS))
    mask = read_mask(tree.mask_path, 3)
    assert np.array_equal(read_pixels_of_mask(tree.image_path, RGB, mask, tree.mask_path), COLORS)


def test_colour_coded_masks(tree: Tree) -> None:
    colour_table(tree, "sky 70 130 180\nroad way 128 64 128\nvoid 0 0 0\n")
    colours = np.array([[70, 130, 180], [128, 64, 128], [0, 0, 0]], np.uint8)
    classes = np.arange(48).reshape(6, 8) % 3
    for mask in (Image.fromarray(colours[classes]), Image.fromarray(colours[classes]).quantize(3)):
        mask.save(tree.mask_path)
        assert np.array_equal(tree.read()[1], np.array([0, 1, 255])[classes])
    assert read_class_names(tree.root) == ["sky", "road way"]


def test_masks_of_other_values(tree: Tree) -> None:
    colour_table(tree, "background = 0\nlane 1 = 255\nvoid = 128\n")
    classes = np.arange(48).reshape(6, 8) % 3
    values = np.array([0, 255, 128], np.uint8)[classes]
    for mask in (Image.fromarray(values), Image.fromarray(values).convert("P")):
        mask.save(tree.mask_path)
        assert np.array_equal(tree.read()[1], np.array([0, 1, 255])[classes])
    assert read_class_names(tree.root) == ["background", "lane 1"]


@pytest.mark.parametrize("text", ["class 1\nclass 2\nclass 3\n", "sky\nlane 1\nlane 2\n", "T1 = T2\na\nb\n"])
def test_names_may_end_in_a_number(tree: Tree, text: str) -> None:
    colour_table(tree, text)
    assert read_class_names(tree.root) == text.splitlines()
    assert read_label_map(tree.root) is None
    assert tree.read()[1].tolist()[0] == [0, 1, 2, 0, 1, 2, 0, 1]


def coco(root: Path, **changes: object) -> Path:
    """A COCO tree with one annotation, some of whose fields are changed."""
    own = annotation(9, 1, 18, [square(5, 5, 20)]) | changes
    return write_coco(root / "coco", {"train2017": [own]})


def json_of(root: Path) -> Path:
    return root / "annotations" / "instances_train2017.json"


def edit(root: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = json.loads(json_of(root).read_text())
    change(content)
    json_of(root).write_text(json.dumps(content))
    return root


COCO_FAULTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "polygon of two points": (
        lambda root: coco(root, segmentation=[[1, 1, 5, 5]]),
        "annotation 9 of image 000000000001 .*polygon of 4",
    ),
    "polygon of an odd count": (
        lambda root: coco(root, segmentation=[[1, 1, 5, 5, 9, 9, 3]]),
        "a polygon of 7 numbers",
    ),
    "no polygon": (lambda root: coco(root, segmentation=[]), "annotation 9 of image 000000000001 .*polygon"),
    "code of another size": (
        lambda root: coco(root, segmentation={"size": [6, 8], "counts": [48]}),
        r"\[6, 8\].*\[60, 80\]",
    ),
    "annotation of no image": (lambda root: coco(root, image_id=77), "annotation 9 .*image 77"),
    "missing image": (
        lambda root: edit(
            coco(root),
            lambda content: content["images"].append({"id": 99, "file_name": "99.jpg", "width": 80, "height": 60}),
        ),
        "train2017/99: no such file, but",
    ),
    "image id twice": (
        lambda root: edit(coco(root), lambda content: content["images"].append(content["images"][0])),
        "an image id or a file name twice",
    ),
    "another size in the file": (
        lambda root: edit(coco(root), lambda content: content["images"][0].update(width=70)),
        "70x60, but its image .* is 80x60",
    ),
    "no images": (
        lambda root: edit(coco(root), lambda content: content.update(images=[], annotations=[])),
        "it lists no images",
    ),
    "no key": (
        lambda root: edit(coco(root), lambda content: content.pop("images")),
        "not a COCO instances file",
    ),
}


@pytest.mark.parametrize("case", COCO_FAULTS)
def test_coco_faults_name_the_file(tmp_path: Path, case: str) -> None:
    breaks, message = COCO_FAULTS[case]
    root = breaks(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        COCODataset(root, "train2017", EVALUATION)[0]
    assert str(json_of(root)) in str(caught.value)


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"images": 3}'])
def test_files_that_are_not_coco_instances(tmp_path: Path, text: str) -> None:
    root = coco(tmp_path)
    json_of(root).write_text(text)
    with pytest.raises(DataError, match=r"instances_train2017\.json: .* COCO instances"):
        COCODataset(root, "train2017", EVALUATION)


def test_the_corpus_is_large() -> None:
    assert len(FAULTS) + len(COCO_FAULTS) >= 25
