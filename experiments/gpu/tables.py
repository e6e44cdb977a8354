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


TABLES: dict[tuple[str, ...], Callable[[dict[str, Any]], str]] = {
    ("v3_resnet50", "v3_resnet50_stride8", "v3plus_resnet101", "v3plus_xception65", "v1_largefov"): training,
}
"""The functions that write the tables, by the pieces that they read."""
