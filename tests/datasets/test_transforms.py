from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from PIL import Image

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.transforms import NORMALIZATIONS, EvaluationTransform, NormalizationName, TrainTransform

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def picture(height: int = 40, width: int = 60) -> tuple[np.ndarray, Image.Image]:
    """An image whose red channel is 10 times its mask, in blocks of 10 pixels."""
    blocks = np.arange(24).reshape(4, 6) % 8
    mask = np.kron(blocks, np.ones((height // 4, width // 6))).astype(np.uint8)
    image = np.stack([mask * 10, mask * 0 + 100, mask * 0], -1).astype(np.uint8)
    return image, Image.fromarray(mask)


def train_transform(**changes: object) -> TrainTransform:
    arguments = {
        "crop_size": (30, 30), "scale_range": (0.5, 2.0), "flip": True, "color_jitter": 0.0, "mean": MEAN, "std": STD
    }  # fmt: skip
    return TrainTransform(**(arguments | changes))  # type: ignore[arg-type]


def test_image_and_mask_move_together() -> None:
    transform = train_transform(scale_range=(1.0, 1.0))
    for seed in range(20):
        image, mask = transform(*picture(), default_rng(seed))
        red = transform.denormalize(image)[..., 0]
        assert torch.equal(red.long(), mask * 10)


def test_scaled_image_and_mask_stay_aligned() -> None:
    """Away from block edges the resampled colours still show the label."""
    transform = train_transform(crop_size=(48, 48))
    agreement = []
    for seed in range(20):
        image, mask = transform(*picture(), default_rng(seed))
        valid = mask != 255
        red = transform.denormalize(image)[..., 0].float()
        agreement.append(((red - mask * 10).abs() < 4)[valid].float().mean().item())
    assert min(agreement) > 0.6
    assert np.mean(agreement) > 0.75


def test_padding_is_mean_and_void_at_the_right_and_bottom() -> None:
    image, mask = train_transform(crop_size=(64, 80), scale_range=(1.0, 1.0))(*picture(), default_rng(0))
    assert (mask[40:] == 255).all()
    assert (mask[:, 60:] == 255).all()
    assert not (mask[:40, :60] == 255).any()
    assert not image[:, 40:].any()
    assert not image[:, :, 60:].any()


def test_scales_cover_the_range() -> None:
    """The scale follows from the number of labelled pixels in a crop that is larger than any scaled image."""
    transform = train_transform(crop_size=(100, 130), scale_range=(0.5, 2.0))
    areas = [int((transform(*picture(), default_rng(seed))[1] != 255).sum()) for seed in range(200)]
    scales = np.sqrt(np.array(areas) / 2400)
    assert 0.49 < scales.min() < 0.56
    assert 1.9 < scales.max() < 2.01
    assert abs(scales.mean() - 1.25) < 0.1


def test_all_random_choices_come_from_the_generator() -> None:
    transform = train_transform(color_jitter=0.4)
    first, again, other = (transform(*picture(), default_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_colour_jitter_leaves_the_mask_alone() -> None:
    plain, jittered = (
        train_transform(scale_range=(1.0, 1.0), flip=False, crop_size=(40, 60), color_jitter=jitter)(
            *picture(), default_rng(1)
        )
        for jitter in (0.0, 0.5)
    )
    assert torch.equal(plain[1], jittered[1])
    assert not torch.equal(plain[0], jittered[0])


def test_evaluation_keeps_every_pixel_and_comes_back_exactly() -> None:
    values = default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    transform = EvaluationTransform(MEAN, STD)
    image, mask = transform(values, Image.new("L", (53, 37), 5), default_rng(0))
    assert image.shape == (3, 37, 53)
    assert mask.dtype == torch.int64
    assert np.array_equal(transform.denormalize(image).numpy(), values)
    assert image[1, 0, 0].item() == pytest.approx((values[0, 0, 1] / 255 - 0.5) / 0.25, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": (0, 5)}, "crop_size"),
        ({"scale_range": (2.0, 1.0)}, "scale_range"),
        ({"color_jitter": 1.0}, "color_jitter"),
        ({"std": (0.2, 0.0, 0.2)}, r"std.*\(0.2, 0.0, 0.2\)"),
        ({"scale_step": 0.4}, r"scale_step must divide scale_range \(0.5, 2.0\) into equal steps, got 0.4"),
        ({"scale_step": 0.0}, "scale_step"),
        ({"scale_range": (1.0, 1.0), "scale_step": 0.25}, "scale_step"),
    ],
)
def test_invalid_settings(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_transform(**changes)


@pytest.mark.parametrize(
    ("scale_range", "scale_step", "expected"),
    [
        ((1.0, 1.0), None, [1.0]),  # v1
        ((0.5, 1.5), 0.25, [0.5, 0.75, 1.0, 1.25, 1.5]),  # v2
        ((0.5, 2.0), 0.25, [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]),  # the TensorFlow release
    ],
)
@pytest.mark.parametrize("align_corners", [True, False])
def test_protocols_of_scale(
    scale_range: tuple[float, float], scale_step: float | None, expected: list[float], align_corners: bool
) -> None:
    """The height of the labelled part gives the scale; all scales are about equally frequent."""
    transform = train_transform(
        crop_size=(90, 130), scale_range=scale_range, scale_step=scale_step, align_corners=align_corners
    )
    masks = [transform(*picture(), default_rng(seed))[1] for seed in range(300)]
    heights = [int((mask[:, 0] != 255).sum()) for mask in masks]
    assert sorted(set(heights)) == [int(40 * scale) for scale in expected]
    shares = np.bincount(heights)[sorted(set(heights))] / 300
    assert (abs(shares - 1 / len(expected)) < 0.1).all()


def sampled(source: np.ndarray, scaled: tuple[int, int], align_corners: bool, nearest: bool) -> np.ndarray:
    """A picture scaled by plain loops that follow the definition of both kinds of sampling."""
    height, width = source.shape[:2]
    result = np.zeros((*scaled, *source.shape[2:]))
    for y in range(scaled[0]):
        for x in range(scaled[1]):
            place = []
            for index, side, out in ((y, height, scaled[0]), (x, width, scaled[1])):
                if align_corners:
                    place.append(index * (side - 1) / (out - 1))
                else:
                    place.append(max(0.0, (index + 0.5) * side / out - 0.5))
            if nearest:
                result[y, x] = source[
                    tuple(min(int(p + 0.5 + 1e-9), s - 1) for p, s in zip(place, (height, width), strict=True))
                ]
                continue
            (y0, dy), (x0, dx) = ((int(p), p - int(p)) for p in place)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            upper = source[y0, x0] * (1 - dx) + source[y0, x1] * dx
            lower = source[y1, x0] * (1 - dx) + source[y1, x1] * dx
            result[y, x] = upper * (1 - dy) + lower * dy
    return result


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("scale", [0.5, 0.75, 1.25, 1.75])
def test_image_and_mask_are_sampled_on_the_grid_of_the_protocol(scale: float, align_corners: bool) -> None:
    """Both equal the loops that follow the definition: the bilinear image up to 8-bit rounding, the mask exactly."""
    rng = default_rng(3)
    pixels, labels = rng.integers(0, 256, (21, 30, 3), np.uint8), rng.integers(0, 21, (21, 30), np.uint8)
    transform = train_transform(crop_size=(60, 60), scale_range=(scale, scale), flip=False, align_corners=align_corners)
    image, mask = transform(pixels, Image.fromarray(labels), default_rng(0))
    scaled = (int(21 * scale), int(30 * scale))
    expected = sampled(pixels, scaled, align_corners, nearest=False)
    found = transform.denormalize(image)[: scaled[0], : scaled[1]].numpy()
    assert abs(found - expected).max() <= 1.01
    found_mask = mask[: scaled[0], : scaled[1]].numpy()
    assert np.array_equal(found_mask, sampled(labels, scaled, align_corners, nearest=True))
    assert (mask[scaled[0] :] == 255).all()


def test_a_crop_is_a_part_of_the_scaled_picture() -> None:
    """The mask is resampled only within the crop, the image before cropping; both must equal a crop made afterwards."""
    rng = default_rng(3)
    pixels, labels = rng.integers(0, 256, (41, 50, 3), np.uint8), rng.integers(0, 21, (41, 50), np.uint8)
    whole = train_transform(crop_size=(80, 80), scale_range=(1.5, 1.5), flip=False)
    part = train_transform(crop_size=(20, 24), scale_range=(1.5, 1.5), flip=False)
    image, mask = whole(pixels, Image.fromarray(labels), default_rng(0))
    for seed in range(5):
        rng = default_rng(seed)
        rng.uniform(1.5, 1.5)
        top, left = (int(rng.integers(side - crop + 1)) for side, crop in ((61, 20), (75, 24)))
        own_image, own_mask = part(pixels, Image.fromarray(labels), default_rng(seed))
        assert torch.equal(own_image, image[:, top : top + 20, left : left + 24])
        assert torch.equal(own_mask, mask[top : top + 20, left : left + 24])


def test_normalizations() -> None:
    pixels = default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    values = torch.from_numpy(pixels).double().permute(2, 0, 1)
    expected: dict[NormalizationName, torch.Tensor] = {
        "imagenet": (values / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1).double())
        / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1).double(),
        "caffe": values.flip(0) - torch.tensor([104.008, 116.669, 122.675]).view(3, 1, 1).double(),
        "inception": values / 127.5 - 1,
    }
    for name, result in expected.items():
        mean, std, bgr = NORMALIZATIONS[name]
        transform = EvaluationTransform(mean, std, bgr)
        image, _ = transform(pixels, Image.new("L", (7, 5)), default_rng(0))
        assert torch.allclose(image.double(), result, atol=1e-4 if name == "caffe" else 1e-6, rtol=1e-6)
        assert np.array_equal(transform.denormalize(image).numpy(), pixels)
        train = train_transform(crop_size=(8, 9), scale_range=(1.0, 1.0), flip=False, mean=mean, std=std, bgr=bgr)
        padded, mask = train(pixels, Image.new("L", (7, 5)), default_rng(0))
        assert torch.equal(padded[:, :5, :7], image)
        assert not padded[:, 5:].any()
        assert not padded[:, :, 7:].any()
        assert (mask[5:] == 255).all()


def test_evaluation_may_pad_the_image_but_never_the_mask() -> None:
    pixels = default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    transform = EvaluationTransform(MEAN, STD, pad_to=(8, 9))
    image, mask = transform(pixels, Image.new("L", (7, 5), 3), default_rng(0))
    assert image.shape == (3, 8, 9)
    assert not image[:, 5:].any()
    assert not image[:, :, 7:].any()
    assert np.array_equal(transform.denormalize(image)[:5, :7].numpy(), pixels)
    assert mask.shape == (5, 7)
    with pytest.raises(DataError, match="10x5 .*9x8.*data.evaluation_size"):
        transform(np.zeros((5, 10, 3), np.uint8), Image.new("L", (10, 5)), default_rng(0))


def test_colour_jitter_of_a_crop_leaves_the_padding_alone() -> None:
    image, _ = train_transform(crop_size=(64, 80), scale_range=(1.0, 1.0), color_jitter=0.5)(*picture(), default_rng(0))
    assert not image[:, 40:].any()


def test_any_number_of_channels_in_a_stated_range() -> None:
    """12-bit values of four channels: 0 and 4095 become 0 and 1, then the channel's mean and deviation apply."""
    values = default_rng(0).integers(0, 4096, (12, 16, 4)).astype(np.float32)
    mean, std = (0.1, 0.2, 0.3, 0.4), (0.5, 0.25, 0.2, 0.1)
    settings: dict[str, Any] = {"mean": mean, "std": std, "value_range": (0.0, 4095.0)}
    expected = torch.from_numpy((values / 4095 - mean) / std).permute(2, 0, 1).float()
    mask = Image.new("L", (16, 12))
    whole, _ = EvaluationTransform(**settings)(values, mask, default_rng(0))
    torch.testing.assert_close(whole, expected)
    crop, _ = train_transform(crop_size=(20, 20), scale_range=(1.0, 1.0), flip=False, **settings)(
        values, mask, default_rng(0)
    )
    torch.testing.assert_close(crop[:, :12, :16], expected)
    assert not crop[:, 12:].any()  # padded with the mean
    shown = EvaluationTransform(**settings).denormalize(whole)
    assert np.abs(shown.numpy() - values[..., :3] / 4095 * 255).max() <= 0.501


def test_a_range_that_does_not_begin_at_zero() -> None:
    values = np.array([[[-50.0], [150.0]]], np.float32)
    transform = EvaluationTransform((0.5,), (0.5,), value_range=(-50.0, 150.0))
    image, _ = transform(values, Image.new("L", (2, 1)), default_rng(0))
    assert image.flatten().tolist() == [-1, 1]
    assert transform.denormalize(image).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_deep_values_are_scaled_without_rounding() -> None:
    values = np.array([[[1.0], [2.0]]], np.float32)
    transform = train_transform(
        crop_size=(1, 3), scale_range=(1.5, 1.5), flip=False, mean=(0.0,), std=(1.0,), value_range=(0.0, 1.0)
    )
    image, _ = transform(values, Image.new("L", (2, 1)), default_rng(0))
    assert image[0, 0].tolist() == [1, 1.5, 2]


@pytest.mark.parametrize(
    "changes", [{"mean": (0.5,) * 4, "std": (0.5,) * 4}, {"value_range": (0.0, 4095.0)}], ids=["channels", "range"]
)
def test_colours_change_on_8_bit_rgb_only(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"color_jitter 0\.3"):
        train_transform(color_jitter=0.3, **changes)
