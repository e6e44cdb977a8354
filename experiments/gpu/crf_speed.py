"""The dense CRF by its torch engine on the device, beside pydensecrf on one core, on samples of VOC and CamVid.

Images and probabilities lie on the device; an image's time includes the labels, with the device synchronised before and
after. The bound is the memory traffic of the iterations (`memory_traffic`) at the speed of a copy on the same device;
the lattice, which is built anew for every image, comes on top of it.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crf import Pair, copy_speed, memory_traffic, read, seconds_per_image
from numpy.typing import NDArray
from session import Session, Unfinished, Values

from deeplab_lightning.crf.published import DEEPLAB_V2_RESNET101

VOC = ["2011_000003", "2011_000006", "2011_000025", "2007_000129"]
CAMVID_IMAGES, BATCH, ROUNDS = 12, 8, 3
GOAL = 50.0
"""The speed on a GPU that the torch engine is to reach, relative to one core of pydensecrf."""


def measure(session: Session) -> Values:
    """Time the engines on every data set.

    Raises:
        Unfinished: The samples are not there.
    """
    speed = copy_speed(1_000_000 if session.smoke else 250_000_000, session.device)
    return {"goal": GOAL, "copy_bytes_per_second": speed, "data": samples(session, compare)}


def samples(session: Session, function: Callable[[Session, list[Pair]], Values]) -> dict[str, Values]:
    """Apply a function to the samples of each data set.

    Raises:
        Unfinished: The samples are not there.
    """
    root = Path(os.environ.get("DEEPLAB_DATA", "data"))
    listed = root / "camvid/ImageSets/Segmentation/val.txt"
    if not listed.is_file() or not (root / "voc_samples").is_dir():
        raise Unfinished(f"{root} holds no voc_samples and camvid; set DEEPLAB_DATA to the folder that does")
    found = {}
    for name, num_classes, ids in (
        ("voc_samples", 21, VOC),
        ("camvid", 11, listed.read_text().split()[:CAMVID_IMAGES]),
    ):
        pairs = read(root / name, ids[:1] if session.smoke else ids, num_classes)
        if session.smoke:
            pairs = [(image[:48, :64].copy(), probabilities[:, :48, :64].copy()) for image, probabilities in pairs]
        found[name] = function(session, pairs)
    return found


def compare(session: Session, pairs: list[Pair]) -> Values:
    """Time pydensecrf, and the torch engine on one image at a time and on a batch of images of one size."""
    expected_seconds, expected = seconds_per_image(replace(DEEPLAB_V2_RESNET101, engine="pydensecrf"), pairs)
    singly, predictions = on_device(session, [([image], [values]) for image, values in pairs])
    same_size = [pair for pair in pairs if pair[0].shape == pairs[0][0].shape]
    images, probabilities = zip(*islice(cycle(same_size), 2 if session.smoke else BATCH), strict=True)
    batched, _ = on_device(session, [(list(images), list(probabilities))])
    traffic = [memory_traffic(image, len(values)) for image, values in pairs]
    return {
        "images": len(pairs),
        "batch": len(images),
        "pydensecrf_seconds": expected_seconds,
        "seconds": singly / len(pairs),
        "seconds_in_batch": batched / len(images),
        "equal_labels": float(np.mean([np.mean(a == b) for a, b in zip(predictions, expected, strict=True)])),
        "traffic_bytes": float(np.mean(traffic)),
    }


def on_device(
    session: Session, batches: list[tuple[list[NDArray[np.uint8]], list[NDArray[np.float32]]]]
) -> tuple[float, list[NDArray[Any]]]:
    """The seconds of all batches, the least of some rounds, and the labels of the first image of each."""
    inputs = [
        [torch.from_numpy(np.stack(images)).to(session.device), torch.from_numpy(np.stack(values)).to(session.device)]
        for images, values in batches
    ]
    seconds = []
    for _ in range(1 + ROUNDS):  # the first round is the warm-up
        session.synchronize()
        start = time.perf_counter()
        labels = [DEEPLAB_V2_RESNET101(images, values).argmax(1) for images, values in inputs]
        session.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:]), [each[0].cpu().numpy() for each in labels]
