"""`deeplab weights`: list published checkpoints, download, convert and score them."""

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deeplab_lightning.published import cache, catalogue
from deeplab_lightning.published.entries import Entry, entries, entry
from deeplab_lightning.usage import Parser

LIST_WIDTH = 150  # characters in the widest line of the list
SHOWN = 5  # names of tensors in a line


def run(command: str, options: list[str]) -> int:
    """Run `deeplab weights list`, `show`, `get`, `convert`, `score` or `slim`."""
    parser = Parser(
        prog=f"deeplab {command}",
        description="Published checkpoints by name. Every setting for a checkpoint takes such a name: --ckpt_path, "
        "--model.start_from, and --model.pretrained for the backbone alone.",
        epilog=f"Files are kept in the folder that {cache.VARIABLE} names; by default in the user's cache.",
    )
    actions = parser.add_subparsers(dest="action", metavar="list|show|get|convert|score|slim", required=True)
    add = actions.add_parser
    listing = add("list", help="list all published checkpoints", description="List all published checkpoints.")
    listing.add_argument("words", nargs="*", help="words that names, data or networks must contain")
    add("show", help="show one checkpoint: address, network, licence, scores and how they were measured")
    add("get", help="download a checkpoint, verify it and convert it")
    convert = add("convert", help="convert a file, folder or archive that you have into a checkpoint")
    convert.add_argument("file", type=Path, help="the weights, of any source of the catalogue")
    convert.add_argument("--name", help="name in the catalogue, where the file itself does not tell which it is")
    convert.add_argument("--out", type=Path, help="path of the checkpoint; default: FILE.ckpt, or the place of --name")
    score = add("score", help="score a checkpoint with the protocol of its published scores")
    score.add_argument("--root", required=True, help="folder of the data set")
    score.add_argument("--split", help="split to score instead of the published one")
    score.add_argument(
        "--out", type=Path, default=Path("runs/weights"), help="folder of the records; default: runs/weights"
    )
    slim = add("slim", help="drop from a checkpoint what only a resume needs, such as the optimizer's state")
    slim.add_argument("file", type=Path, help="checkpoint of `deeplab fit`")
    slim.add_argument("--out", type=Path, help="path of the slim checkpoint; default: FILE.slim.ckpt beside it")
    for action in ("show", "get", "score"):
        actions.choices[action].add_argument("name", help="name in the catalogue")
    score.epilog = "Further options are those of `deeplab validate`, such as --trainer.accelerator cpu."
    arguments, settings = parser.parse_known_args(options)
    if settings and arguments.action != "score":
        parser.parse_args(options)  # which refuses them
    arguments.settings = settings
    return ACTIONS[arguments.action](arguments)


def _list(arguments: Namespace) -> int:
    table = Table(box=None)
    for heading in ("name", "network", "trained on", "best score"):
        table.add_column(heading, no_wrap=heading == "name")
    found = [
        each for each in entries().values() if all(word.lower() in _line(each).lower() for word in arguments.words)
    ]
    for each in found:
        table.add_row(*map(Text, (each.name, _network(each), each.trained_on, _best(each))))
    console = Console(highlight=False)
    console.width = max(console.width, LIST_WIDTH)
    console.print(table)
    return 0


def _line(own: Entry) -> str:
    return " ".join((own.name, _network(own), own.trained_on))


def _network(own: Entry) -> str:
    if own.unsupported:
        return f"(cannot be read: {own.unsupported})"
    return f"{own.kind or 'backbone'} {own.arguments.get('backbone', 'vgg16')}"


def _best(own: Entry) -> str:
    best = max(own.scores, key=lambda score: score.miou, default=None)
    return "" if best is None else f"{best.miou:g} {best.data} {best.split}"


def _show(arguments: Namespace) -> int:
    own = entry(arguments.name)
    place, converted = cache.place(own), catalogue.converted_place(own)
    state = (
        f"{converted}" if converted.is_file() else f"{place}" if place.is_file() else f"not yet; its place is {place}"
    )
    rows = {
        "name": own.name,
        "address": own.url or f"none: get {own.where}",
        "SHA-256": f"begins with {own.sha256}" if own.sha256 else "not published",
        "member": own.member or "the only checkpoint in it",
        "network": _network(own),
        "arguments": ", ".join(f"{name} {value}" for name, value in own.arguments.items() if name != "backbone"),
        "trained on": own.trained_on,
        "normalization": own.normalization,
        "licence": own.licence,
        "not certain": own.uncertain or "",
        "in the cache": state,
    }
    console = Console(highlight=False, soft_wrap=True)
    for heading, text in rows.items():
        if text:
            console.print(Text(f"{heading:14} {text}"))
    for score in own.scores:
        doubt = f" (not certain: {score.uncertain})" if score.uncertain else ""
        console.print(Text(f"{'mIoU':14} {score.miou:.2f} on {score.protocol}{doubt}"))
    return 0


def _get(arguments: Namespace) -> int:
    own = entry(arguments.name)
    print(f"{own.name}: licence {own.licence}")
    print(f"{own.name}: {catalogue.checkpoint(own.name)}")
    return 0


def _convert(arguments: Namespace) -> int:
    from deeplab_lightning.published.converting import convert

    own = entry(arguments.name) if arguments.name else None
    converted = convert(arguments.file, own)
    out = arguments.out or (catalogue.converted_place(own) if own else arguments.file.with_suffix(".ckpt"))
    converted.write(out)
    print(f"{arguments.file}: a {converted.checkpoint.get('module', 'backbone')} of {converted.source}")
    print(f"used {len(converted.used)} tensors; ignored {_some(converted.ignored)}")
    print(f"wrote {out}")
    return 0


def _some(names: tuple[str, ...]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)}: {', '.join(names[:SHOWN])}{more}"


def _score(arguments: Namespace) -> int:
    from deeplab_lightning.commands.released_scores import score_published

    own = entry(arguments.name)
    return score_published(own, arguments.root, arguments.split, arguments.out, options=arguments.settings)


def _slim(arguments: Namespace) -> int:
    from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
    from deeplab_lightning.segmentation.model_file import slim

    out = arguments.out or arguments.file.with_name(f"{arguments.file.stem}.slim.ckpt")
    AtomicCheckpointIO().save_checkpoint(slim(arguments.file), out)
    sizes = " to ".join(f"{path.stat().st_size / 2**20:.1f} MiB" for path in (arguments.file, out))
    print(f"wrote {out}: {sizes}")
    return 0


ACTIONS: Mapping[str, Callable[[Namespace], int]] = {
    "list": _list,
    "show": _show,
    "get": _get,
    "convert": _convert,
    "score": _score,
    "slim": _slim,
}
