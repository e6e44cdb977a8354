"""`deeplab hub`: write a model as a folder for the Hugging Face hub, with its card, and push it."""

import re
import sys
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

from deeplab_lightning.published import hub
from deeplab_lightning.usage import Parser, UsageError

CARD = "README.md"
NUM_PICTURES = 4  # in the card at most, if nothing else is asked for
EPILOG = """The folder has config.json (the description), model.safetensors (the weights) and README.md, a model card
made from the run: data, settings, scores and how they were measured, curves, and pictures of predictions, that is
images of the validation data. `load` and `deeplab segment` take the folder, or OWNER/NAME once it is pushed."""


def run(command: str, options: list[str]) -> int:
    """Run `deeplab hub save` or `deeplab hub push`."""
    parser = Parser(prog=f"deeplab {command}", description="Share a model on the Hugging Face hub.", epilog=EPILOG)
    actions = parser.add_subparsers(dest="action", metavar="save|push", required=True)
    save = actions.add_parser("save", help="write a model as a folder, without any connection", epilog=EPILOG)
    push = actions.add_parser("push", help="push a model, or a folder of `deeplab hub save`; needs a token")
    save.add_argument("model", help="checkpoint of `deeplab fit`, or a name of `deeplab weights list`")
    save.add_argument("folder", type=Path, help="the folder to write, which does not exist yet")
    push.add_argument("model", help="folder of `deeplab hub save`, whose card you may have edited, or a checkpoint")
    push.add_argument("name", metavar="OWNER/NAME", help="name on the hub")
    push.add_argument("--private", action="store_true", help="make a new model visible to its owner alone")
    for each in (save, push):
        each.add_argument("--license", type=licence, help="identifier of a licence on the hub: mit, cc-by-4.0, ...")
        each.add_argument("--run", type=Path, help="run folder of the training; default: that of the checkpoint")
        each.add_argument("--pictures", type=int, help=f"most pictures of predictions; default: {NUM_PICTURES}")
    arguments = parser.parse_args(options)
    if arguments.pictures is not None and arguments.pictures < 0:
        raise UsageError(f"--pictures {arguments.pictures}: a card has at least 0 pictures")
    return _save(arguments) if arguments.action == "save" else _push(arguments)


def licence(text: str) -> str:
    """Parse an identifier of a licence, as the hub writes it."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", text):
        raise ValueError(f"{text} is no identifier")
    return text


def _save(arguments: Namespace) -> int:
    folder: Path = arguments.folder
    if folder.exists():
        raise UsageError(f"{folder} exists; name a new folder")
    write(arguments, folder, folder.resolve().name)
    print(f"wrote {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if not arguments.license:
        print(f"{folder / CARD} names no licence: choose one with --license, or write it there before you push")
    return 0


def _push(arguments: Namespace) -> int:
    source = Path(arguments.model)
    with TemporaryDirectory() as place:
        folder = source
        if not source.is_dir():
            folder = Path(place) / "model"
            write(arguments, folder, arguments.name.rpartition("/")[2])
        elif arguments.license or arguments.run or arguments.pictures is not None:
            raise UsageError(
                f"{source} has its card already, which --license, --run and --pictures do not change; "
                f"edit {source / CARD}"
            )
        address = hub.push(contents(folder, arguments.name), arguments.name, arguments.private)
    print(f"pushed {arguments.name}: {address}")
    return 0


def write(arguments: Namespace, folder: Path, title: str) -> None:
    """Write the folder of a model, complete or not at all.

    Args:
        arguments: The options of the command.
        folder: The folder, which does not exist.
        title: Name of the model in its card.
    """
    from deeplab_lightning.atomic import write_atomically
    from deeplab_lightning.reports.model_card import model_card
    from deeplab_lightning.run_folder import RunFolder
    from deeplab_lightning.segmentation.loading import find_model
    from deeplab_lightning.segmentation.model_folder import write_folder

    model, source = find_model(arguments.model), Path(arguments.model)
    runs = [arguments.run] if arguments.run else [source.parent] if source.is_file() else []
    of_run = next((each for each in runs if RunFolder(each).logs()), None)
    if arguments.run and of_run is None:
        raise UsageError(f"{arguments.run} is no run folder: it has no logs of a training")
    num_pictures = NUM_PICTURES if arguments.pictures is None else arguments.pictures
    card = model_card(model, title, of_run, licence=arguments.license, num_pictures=num_pictures)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as draft:
        whole = Path(draft) / folder.name
        write_folder(model, whole)
        for name, content in card.pictures.items():
            write_atomically(whole / name, content)
        write_atomically(whole / CARD, card.text)
        whole.replace(folder)
    if of_run is None:
        print("no run folder was found: the card has neither settings nor curves (--run FOLDER)", file=sys.stderr)


def contents(folder: Path, name: str) -> dict[str, Path | bytes]:
    """Return the files of a folder that are pushed, after a look at the whole model; the card gets the model's name."""
    from deeplab_lightning.published.hub_folder import CONFIG, WEIGHTS
    from deeplab_lightning.reports.model_card import PLACEHOLDER
    from deeplab_lightning.segmentation.model_folder import read_folder

    read_folder(folder)
    found: dict[str, Path | bytes] = {each: folder / each for each in (CONFIG, WEIGHTS)}
    found |= {path.name: path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")}
    card = folder / CARD
    if not card.is_file():
        raise UsageError(f"{folder} has no {CARD}; a model is shared with its card")
    return found | {CARD: card.read_text(encoding="utf-8").replace(PLACEHOLDER, name).encode()}
