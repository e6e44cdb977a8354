"""The tables of the finished pieces in Markdown, as experiments/benchmarks/README.md has them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Record = dict[str, Any]


def tables(records: Sequence[Record]) -> str:
    """The settings, a table for each kind of piece, and a sentence for each piece without values."""
    finished = {record["piece"]: record for record in records if record.get("values")}
    blocks = [settings(finished.values())] if finished else []
    for names, write in TABLES.items():
        values = {name: finished[name]["values"] for name in names if name in finished}
        if values:
            blocks.append(write(values))
    unfinished = [f"- {each['piece']}: {each['sentence']}" for each in records if not each.get("values")]
    return "\n\n".join([*blocks, *(["\n".join(["Not measured:", *unfinished])] if unfinished else [])])


def settings(records: Iterable[Record]) -> str:
    """A line for each setting, with the pieces that were measured in it."""
    pieces: dict[str, list[str]] = {}
    for record in records:
        one = record["setting"]
        line = f"{one['device']}, torch {one['torch']}, CUDA {one['cuda']}, cuDNN {one['cudnn']}, {one['date']}"
        if record["smoke"]:
            line += ", a smoke run with tiny sizes: the numbers mean nothing"
        pieces.setdefault(line, []).append(record["piece"])
    return "\n".join(f"Measured on {line}: {', '.join(names)}." for line, names in pieces.items())


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def training(values: dict[str, Any]) -> str:
    """The table of training speed: a row for each network and way."""
    header = ["network", "way", "crop", "batch", "images/s", "times peer", "peak, GiB", "TFLOP/s"]
    header += ["of the matrix product", "of the data sheet", "first step, s"]
    rows = []
    for name, found in values.items():
        peers = {each["side"]: each.get("images_per_second") for each in found["ways"] if each["name"] == "peer"}
        for way in found["ways"]:
            start = [name, way["name"], str(way["side"]), str(found["batch"])]
            if way.get("sentence"):
                rows.append([*start, way["sentence"].replace("|", "\\|"), *[""] * (len(header) - 5)])
                continue
            rate, peer, peak = way["images_per_second"], peers.get(way["side"]), found["peak_flops"]
            rows.append(
                [
                    *start,
                    f"{rate:.1f}",
                    f"{rate / peer:.2f}" if peer else "",
                    f"{way['peak_gib']:.2f}" if way["peak_gib"] else "",
                    f"{way['flops'] / 1e12:.1f}",
                    f"{way['flops'] / found['matrix_flops']:.1%}",
                    f"{way['flops'] / peak:.1%}" if peak else "",
                    f"{way['first_step']:.1f}",
                ]
            )
    products = {name: found["matrix_flops"] / 1e12 for name, found in values.items()}
    note = ", ".join(f"{speed:.1f} ({name})" for name, speed in products.items())
    return (
        f"{table(header, rows)}\n\nTFLOP/s are those of the model: six times the multiply-adds of a forward pass up to "
        "the coarse logits, times images/s. Their share of the measured speed of a bfloat16 matrix product on the same "
        f"device is the utilisation. That product ran at {note} TFLOP/s."
    )


def crf(values: dict[str, Any]) -> str:
    """The table of the dense CRF: a row for each data set."""
    found = values["crf"]
    header = ["data", "images", "pydensecrf, one core, s/image", "torch, one at a time", "times"]
    header += ["torch, in batches", "times", "equal labels", "traffic of the iterations alone, s", "of the time"]
    rows = []
    for name, each in found["data"].items():
        reference, bound = each["pydensecrf_seconds"], each["traffic_bytes"] / found["copy_bytes_per_second"]
        rows.append([name, str(each["images"]), f"{reference:.3f}"])
        for key in ("seconds", "seconds_in_batch"):
            rows[-1] += [f"{each[key]:.4f}", f"{reference / each[key]:.1f}"]
        rows[-1] += [f"{each['equal_labels']:.4%}", f"{bound:.5f}", f"{bound / each['seconds']:.0%}"]
    speed = found["copy_bytes_per_second"] / 1e9
    note = f"The goal is {found['goal']:g} times. A copy on this device moves {speed:.0f} GB/s."
    return f"{table(header, rows)}\n\n{note}"


def evaluation(values: dict[str, Any]) -> str:
    """The table of evaluations with and without CRF."""
    rows = []
    for name, each in values["evaluation"]["ways"].items():
        if "sentence" in each:
            rows.append([name, each["sentence"], "", ""])
        else:
            scores = [f"{score:.4f}" if score is not None else "" for score in (each["miou"], each["miou_crf"])]
            rows.append([name, f"{each['seconds']:.1f}", *scores])
    return table(["deeplab validate", "s", "mIoU", "mIoU with CRF"], rows)


def ddp(values: dict[str, Any]) -> str:
    """The table of two processes on one device."""
    found = values["ddp"]
    matrices = "equal" if found["equal_matrices"] else "different"
    rows = [
        [f"weights after {found['steps']} steps, one process in a group of {found['backend_of_one']}"],
        [f"weights after {found['steps']} steps, {found['processes']} processes over gloo"],
        [f"confusion matrix of one checkpoint, {found['processes']} processes over gloo"],
    ]
    rows[0].append(distance(found["grouped_difference"]))
    rows[1].append(f"{distance(found['two_difference'])}; batch norm {found['batch_norm']}")
    rows[2].append(f"{matrices} over {found['pixels']} pixels; mIoU {' and '.join(map(str, found['miou']))}")
    return table(["compared with one process without a group", "seen"], rows)


def resume(values: dict[str, Any]) -> str:
    """The table of killed and resumed trainings."""
    rows = []
    for mode, each in values["resume"]["modes"].items():
        if "sentence" in each:
            rows.append([mode, each["sentence"], ""])
        else:
            rows.append([mode, distance(each["resumed"]), distance(each["second"])])
    return table(["trainer.deterministic", "killed and resumed", "a second undisturbed training"], rows)


def distance(value: float) -> str:
    """The words for the largest relative difference of weights."""
    return f"differ by at most {value:.2g}" if value else "equal, bit for bit"


def camvid(values: dict[str, Any]) -> str:
    """The line of the training on CamVid."""
    found = values["camvid"]
    return (
        f"CamVid, {found['model']}, {found['steps']} steps in {found['starts']} starts and {found['seconds']:.0f} s: "
        f"test mIoU {found['miou']:.4f} (goal {found['goal']:.2f}). {found['identity']}"
    )


TABLES: dict[tuple[str, ...], Callable[[dict[str, Any]], str]] = {
    ("v3_resnet50", "v3_resnet50_stride8", "v3plus_resnet101", "v3plus_xception65", "v1_largefov"): training,
    ("crf",): crf,
    ("evaluation",): evaluation,
    ("ddp",): ddp,
    ("resume",): resume,
    ("camvid",): camvid,
}
"""The functions that write the tables, by the pieces that they read."""
