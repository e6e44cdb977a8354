"""The segmenter: a trained network that turns pictures into label maps, at several scales, by tiles, with a CRF."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.published import crf_named
from deeplab_lightning.inference import multi_scale_logits
from deeplab_lightning.models.winograd import use_winograd
from deeplab_lightning.segmentation.model_file import Model
from deeplab_lightning.segmentation.pictures import Picture, PixelReader, displayed, normalize
from deeplab_lightning.segmentation.result import SegmentationResult
from deeplab_lightning.segmentation.tiles import SMALLEST_SIDE, Span, Tile, Tiling, blend, needed_margin, plan

Single = str | Path | Image.Image | NDArray[Any]
"""One image: a path, a PIL image, or an array (H, W) or (H, W, C)."""


@dataclass(frozen=True)
class Method:
    """The way from a picture to its label map.

    Args:
        scales: Scales of the image, over which probabilities are averaged.
        flip: Every scale runs on the mirrored image as well.
        crf: Dense CRF that refines the probabilities; None for none.
        tile: Side of the tiles; "auto" for tiles where the image is large; None for whole images.

    Raises:
        ValueError: There is no scale, a scale is not above 0, or the tiles are too small to overlap.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    crf: DenseCRF | None = None
    tile: Tile = "auto"

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < float("inf") for scale in self.scales):
            raise ValueError(f"scales must hold at least one scale, all above 0, got {self.scales}")
        if isinstance(self.tile, int) and self.tile < SMALLEST_SIDE:
            raise ValueError(f"tiles must have a side of at least {SMALLEST_SIDE} pixels, got {self.tile}")

    def as_dict(self) -> dict[str, Any]:
        """Return the method as plain values, ready for JSON."""
        return asdict(self) | {"scales": list(self.scales)}


class Segmenter:
    """A trained network that segments images; `deeplab_lightning.load` makes one.

    Args:
        model: The network with its description.
        device: Device that the network runs on; "auto" is the GPU if there is one.
        value_range: Stored values that stand for black and white in images of more than 8 bits; those of the training
            if not given.
    """

    def __init__(self, model: Model, device: str = "auto", value_range: tuple[float, float] | None = None) -> None:
        self.network, self.layers = model.network, model.layers
        self.description, self.digest = model.description, model.digest
        self.reader = PixelReader(model.description.normalization, value_range)
        use_winograd(self.network)
        self.to(device)

    def to(self, device: str) -> "Segmenter":
        """Move the network to a device; "auto" is the GPU if there is one."""
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.network = self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.layers = None if self.layers is None else self.layers.to(self.device)
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, background included."""
        return self.description.class_names

    @overload
    def segment(self, images: Single, **method: Any) -> SegmentationResult: ...

    @overload
    def segment(self, images: Sequence[Single | Tensor], **method: Any) -> list[SegmentationResult]: ...

    @overload
    def segment(self, images: Iterator[Single | Tensor], **method: Any) -> Iterator[SegmentationResult]: ...

    @overload
    def segment(self, images: Tensor, **method: Any) -> SegmentationResult | list[SegmentationResult]: ...

    def segment(self, images: Any, *, batch_size: int = 1, probabilities: bool = True, **method: Any) -> Any:
        """Segment one image, or several.

        A path, a PIL image, an array (H, W) or (H, W, C), and a tensor (C, H, W) are one image. A list, a tuple and a
        tensor (B, C, H, W) are several. A generator is read as its results are. Arrays and tensors hold uint8, or
        floats in 0..1.

        Args:
            images: The image or the images.
            batch_size: Number of consecutive images of equal size that the network computes at once.
            probabilities: The results hold the probabilities of all classes.
            method: `scales`, `flip`, `tile` as of `Method`, and `crf`: a `DenseCRF`, the name of a released model's
                setting ("deeplab_largefov"), or "checkpoint" for the one that `deeplab crf-search` found.

        Returns:
            One result, a list of them, or for a generator an iterator of them, in the order of the images.

        Raises:
            DataError: A file cannot be read.
            TypeError: Something is no image.
            ValueError: An image does not fit the model, or a setting cannot work.
        """
        how = self.method(**method)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if isinstance(images, Tensor) and images.ndim == 4:
            images = list(images)
        is_single = isinstance(images, str | Path | Image.Image | np.ndarray | Tensor)
        several: Iterable[Any] = [images] if is_single else images
        results = self._results(several, how, batch_size, probabilities)
        if is_single:
            return next(results)
        return results if isinstance(images, Iterator) else list(results)

    def method(self, crf: DenseCRF | str | None = None, **settings: Any) -> Method:
        """Return a method with this model's CRF, or a released one, looked up by its name.

        Raises:
            ValueError: There is no such CRF, or a setting cannot work.
        """
        if isinstance(crf, str):
            crf = crf_named(crf, self.description.crf)
        if crf is not None and self.reader.num_channels < 3:
            raise ValueError(f"a CRF needs colours, but the model takes {self.reader.num_channels} channels")
        return Method(crf=crf, **settings | ({"scales": tuple(settings["scales"])} if "scales" in settings else {}))

    def _results(
        self, images: Iterable[Any], how: Method, batch_size: int, probabilities: bool
    ) -> Iterator[SegmentationResult]:
        numbered = enumerate(images)
        while chunk := list(islice(numbered, batch_size)):
            pictures = [self.reader.convert(image, f"image {number}") for number, image in chunk]
            yield from self.run(pictures, how, probabilities)

    def run(
        self, pictures: Sequence[Picture], how: Method, probabilities: bool = True, confidence: bool = True
    ) -> list[SegmentationResult]:
        """Segment pictures, those of equal size at once.

        Args:
            pictures: The pictures.
            how: The way to segment them.
            probabilities: The results hold the probabilities of all classes.
            confidence: The results hold the probability of each pixel's class.
        """
        wanted = (probabilities, confidence)
        groups: dict[tuple[int, int], list[int]] = {}
        for index, picture in enumerate(pictures):
            groups.setdefault(picture.size, []).append(index)
        results: dict[int, SegmentationResult] = {}
        for size, indices in groups.items():
            tiling = self.tiling(size, how)
            if tiling is not None:
                results |= {index: self._by_tiles(pictures[index], how, tiling, *wanted) for index in indices}
                continue
            scores = self.scores([pictures[index] for index in indices], how)
            for index, own in zip(indices, scores, strict=True):
                results[index] = self._result(pictures[index], how, own, *wanted)
        return [results[index] for index in range(len(pictures))]

    def tiling(self, size: tuple[int, int], how: Method) -> Tiling | None:
        """Return the tiles that an image (H, W) is cut into; None if it is taken whole."""
        # The receptive field is computed only if it matters.
        if plan(how.tile, size, None, align_corners=False) is None:
            return None
        return plan(how.tile, size, self.margin, self.network.align_corners, scales=how.scales)

    @cached_property
    def margin(self) -> int | None:
        """The margin with which tiles give the scores of the whole image; None with image-level features."""
        return needed_margin(self.description.network, self.description.arguments)

    @torch.inference_mode()
    def scores(self, pictures: Sequence[Picture], how: Method, *, pads: bool = True) -> Tensor:
        """Return logits (B, K, H, W) of pictures of equal size, or the refined probabilities if there is a CRF.

        Args:
            pictures: The pictures.
            how: The way to segment them; its tiles are left out.
            pads: Pictures are padded as in the evaluation of the model, which tiles of a larger one must not be.
        """
        height, width = pictures[0].size
        pad_to = self.description.pad_to if pads else None
        tensors = [normalize(each.pixels, self.reader, pad_to) for each in pictures]
        images = torch.stack([tensor.permute(1, 2, 0) for tensor in tensors]).permute(0, 3, 1, 2).to(self.device)
        logits = multi_scale_logits(
            self.network, images, how.scales, flip=how.flip, align_corners=self.network.align_corners
        )[..., :height, :width]
        if self.layers is None and how.crf is None:
            return logits
        colours = [displayed(each.pixels, self.reader.range_of(each.pixels)) for each in pictures]
        colours_there = torch.stack([torch.from_numpy(each.copy()) for each in colours]).to(self.device)
        if self.layers is not None:
            logits = self.layers(logits, colours_there)
        return logits if how.crf is None else how.crf(colours_there, logits.float().softmax(1))

    def _result(
        self, picture: Picture, how: Method, scores: Tensor, probabilities: bool, confidence: bool
    ) -> SegmentationResult:
        return SegmentationResult(
            mask=labels_of(scores),
            confidence=confidence_of(scores, how) if confidence else None,
            probabilities=_probabilities(scores, how).cpu().numpy() if probabilities else None,
            image=displayed(picture.pixels, self.reader.range_of(picture.pixels)),
            palette=self.description.palette,
            name=picture.name,
            remarks=self.description.assumed,
        )

    def _by_tiles(
        self, picture: Picture, how: Method, tiling: Tiling, probabilities: bool, confidence: bool
    ) -> SegmentationResult:
        height, width = picture.size
        mask = np.empty((height, width), np.uint8)
        sure = np.empty((height, width), np.uint8) if confidence else None
        kept = _on_disk((len(self.class_names), height, width)) if probabilities else None

        def scores_of(rows: Span, columns: Span) -> Tensor:
            part = Picture(picture.pixels[slice(*rows), slice(*columns)], picture.name)
            return self.scores([part], how, pads=False)[0]

        for rows, columns, scores in blend(picture.size, tiling, scores_of):
            block = slice(*rows), slice(*columns)
            mask[block] = labels_of(scores)
            if sure is not None:
                sure[block] = confidence_of(scores, how)
            if kept is not None:
                kept[:, *block] = _probabilities(scores, how).half().cpu().numpy()
        return SegmentationResult(
            mask=mask,
            confidence=sure,
            probabilities=kept,
            image=displayed(picture.pixels, self.reader.range_of(picture.pixels)),
            palette=self.description.palette,
            name=picture.name,
            remarks=(*self.description.assumed, *self._remarks(tiling, how)),
        )

    def _remarks(self, tiling: Tiling, how: Method) -> Iterator[str]:
        tiles = f"tiles of {tiling.side} with a margin of {tiling.margin}"
        if tiling.difference is not None:
            yield f"{tiles}: {tiling.difference}"
        if how.crf is not None or self.layers is not None:
            yield f"{tiles}: the CRF sees one tile at a time, so labels may differ from those of the whole image"


def _probabilities(scores: Tensor, how: Method) -> Tensor:
    """Return the probabilities (K, H, W) of scores, which are logits unless a CRF has refined them."""
    return scores if how.crf is not None else scores.float().softmax(0)


def labels_of(scores: Tensor) -> NDArray[np.uint8]:
    """Return the class (H, W) of each pixel."""
    return scores.argmax(0).byte().cpu().numpy()


def confidence_of(scores: Tensor, how: Method) -> NDArray[np.uint8]:
    """Return the probability of each pixel's class as 0..255, without a softmax of all classes."""
    best = scores.float().amax(0)
    confidence = best if how.crf is not None else 1 / (scores - best).exp_().sum(0)
    return (confidence * 255).round().byte().cpu().numpy()


@torch.inference_mode()
def refined(result: SegmentationResult, how: Method, device: torch.device | str = "cpu") -> SegmentationResult:
    """Return a result with its probabilities refined by the method's CRF on a device."""
    assert how.crf is not None
    assert result.probabilities is not None
    shares = how.crf(torch.from_numpy(result.image.copy()), torch.from_numpy(result.probabilities.copy()).to(device))
    confidence = None if result.confidence is None else confidence_of(shares, how)
    return replace(result, mask=labels_of(shares), confidence=confidence, probabilities=shares.cpu().numpy())


def _on_disk(shape: tuple[int, int, int]) -> NDArray[np.float16]:
    """Return an array in a temporary file that the system removes with the array."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float16, "w+", shape=shape)
