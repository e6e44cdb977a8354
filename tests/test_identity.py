from deeplab_lightning.identity import EvaluationIdentity, describe_identity

IDENTITY = EvaluationIdentity(
    dataset="camvid",
    split="test",
    labels="masks of SegmentationClass, void 255 left out",
    num_images=233,
    size_policy="whole image, scored at its original size",
    output_stride=16,
    align_corners=True,
    scales=(0.5, 0.75),
    flip=True,
    precision="bf16-mixed",
    weights="of step 1500",
)


def test_the_text_names_every_part() -> None:
    text = str(IDENTITY)
    for part in (
        "camvid test", "233 images", "void 255 left out", "original size", "output_stride 16", "align_corners true",
        "scales 0.5, 0.75", "with flip", "bf16-mixed", "no CRF", "weights of step 1500",
    ):  # fmt: skip
        assert part in text
    assert describe_identity(IDENTITY.as_dict() | {"crf": "xy 67"}).count("CRF (xy 67)") == 1


def test_different_measurements_have_different_texts() -> None:
    changes = {
        "split": "val", "num_images": 1, "size_policy": "crop", "output_stride": 8, "align_corners": False,
        "scales": [1.0], "flip": False, "precision": "32-true", "weights": "of step 1", "crf": "x",
        "labels": "l", "dataset": "d",
    }  # fmt: skip
    assert set(changes) == set(IDENTITY.as_dict())
    texts = {describe_identity(IDENTITY.as_dict() | {key: value}) for key, value in changes.items()}
    assert len(texts | {str(IDENTITY)}) == len(changes) + 1
