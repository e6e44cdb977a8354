"""The generated Shapes data set."""

from pathlib import Path
from typing import Any

from filelock import FileLock

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.shapes import CLASS_NAMES, generate
from deeplab_lightning.datasets.transforms import Transform


class ShapesDataModule(SegmentationDataModule):
    """Textured scenes with overlapping objects of seven classes; written to `root` by the first run that needs them.

    Args:
        root: Folder of the generated tree; a tree has one image size and one number of images per split.
        num_train: Number of images in split train.
        num_val: Number of images in split val; split test has the same number.
        image_size: Size (H, W) of every image.
        void_width: Number of void pixels on either side of every boundary.
        generator_seed: Seed of the scenes.
        kwargs: Settings of `SegmentationDataModule`.
    """

    def __init__(
        self,
        root: str = "data/shapes",
        num_train: int = 600,
        num_val: int = 100,
        image_size: tuple[int, int] = (128, 128),
        void_width: int = 1,
        generator_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        name = f"Shapes {image_size[0]}x{image_size[1]}, seed {generator_seed}"
        super().__init__(CLASS_NAMES, name, **kwargs)
        self.root, self.image_size = Path(root), image_size
        self.void_width, self.generator_seed = void_width, generator_seed
        self.num_images = {"train": num_train, "val": num_val, "test": num_val}

    def prepare_data(self) -> None:
        """Generate the missing splits; Lightning calls this once per machine, and machines may share the disk."""
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".lock"):
            generate(self.root, self.num_images, self.image_size, void_width=self.void_width, seed=self.generator_seed)

    def dataset(self, split: str, transform: Transform) -> FolderDataset:
        """The data set of split train, val or test."""
        return FolderDataset(self.root, split, self.num_classes, transform, seed=self.seed)
