"""`deeplab data`: download data sets, check them, and show samples."""

import json
import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deeplab_lightning.atomic import naming
from deeplab_lightning.callbacks.bootstrap_hard_images import HARD_CLASSES
from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.coco import COCODataModule
from deeplab_lightning.datamodules.coco_stuff import COCOStuffDataModule
from deeplab_lightning.datamodules.folder import FolderDataModule, find_annotations, find_root
from deeplab_lightning.datasets import doctor
from deeplab_lightning.datasets.coco_names import NEVER_LABELLED
from deeplab_lightning.datasets.faults import Fault, NoSuchSplitError, collecting
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.mending import mend_classes, mend_lists
from deeplab_lightning.datasets.polygons import SPLIT
from deeplab_lightning.datasets.prepare import prepare
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.show import grid
from deeplab_lightning.datasets.sources import SOURCES
from deeplab_lightning.processors import count_processors
from deeplab_lightning.usage import Parser, UsageError


def run(command: str, options: list[str]) -> int:
    """Run `deeplab data prepare`, `check` or `show`."""
    parser = Parser(prog=f"deeplab {command}", description="Download data sets, check them, show samples.")
    actions = parser.add_subparsers(dest="action", metavar="prepare|check|show", required=True)
    description = "Download a data set, verify its checksums and unpack it. An interrupted download is resumed."
    fetch = actions.add_parser("prepare", help="download, verify and unpack a data set", description=description)
    fetch.add_argument("name", choices=sorted(SOURCES), help="the data set")
    fetch.add_argument("--root", type=Path, help="destination folder; default: DEEPLAB_DATA, or data")
    fetch.add_argument("--mirror", help="URL of a folder with the same files, tried before the official URLs")
    fetch.add_argument(
        "--archives",
        type=Path,
        help="folder of archives that you have, such as those for registered users; they are kept",
    )
    check = actions.add_parser("check", help="list every fault of a data set; exit status 1 if there is one")
    check.add_argument(
        "--json",
        action="store_true",
        help="print JSON: faults, counts, void_shares, class_frequencies, channels",
    )
    check.add_argument(
        "--fix",
        action="store_true",
        help="first write what is missing in a folder of your own: class_names.txt, its values or colours for the "
        "masks, lists of splits; images and masks stay as they are, and a class_names.txt that is replaced is kept",
    )
    check.add_argument("--num-workers", type=int, default=count_processors(), help="processes; default: one per core")
    show = actions.add_parser("show", help="write samples before and after augmentation as a PNG")
    show.add_argument("--image-id", nargs="+", metavar="ID", help="IDs in the training split; default: the first four")
    show.add_argument("--out", type=Path, default=Path("samples.png"), help="path of the PNG; default: samples.png")
    for action in (check, show):
        action.add_argument(
            "-c", "--config", action="append", required=True, help="YAML file with data; later ones win"
        )
        action.add_argument("--root", help="folder of the data set, in place of the config's data.root")
        action.usage = f"{action.format_usage().removeprefix('usage: ').rstrip()} [--data.KEY VALUE ...]"
        action.epilog = "--data.KEY VALUE: any other setting of the data, as in `deeplab fit`"
    arguments, settings = parser.parse_known_args(options)
    if settings and (arguments.action == "prepare" or not settings[0].startswith("--data.")):
        parser.error(f"unrecognized arguments: {' '.join(settings)}")
    arguments.settings = settings
    run_action = {"prepare": _prepare, "check": _check, "show": _show}[arguments.action]
    return run_action(arguments)


def _prepare(arguments: Namespace) -> int:
    root = arguments.root or Path(os.environ.get("DEEPLAB_DATA", "data"))
    prepare(arguments.name, root, arguments.mirror, arguments.archives)
    return 0


def read_datamodule(configs: list[str], root: str | None, settings: Sequence[str] = ()) -> SegmentationDataModule:
    """Build the datamodule that the data sections of configs describe; later configs override earlier ones.

    Args:
        configs: The paths of YAML files.
        root: The folder of the data, in place of the configs' data.root.
        settings: The options "--data.KEY", "VALUE" and so on, which override the configs.

    Raises:
        UsageError: A config cannot be read, a setting in it is wrong, or no config names a datamodule.
        DataError: The data do not exist.
    """
    from deeplab_lightning.settings.part import build_part

    changes = {} if root is None else {"root": root}
    datamodule: SegmentationDataModule = build_part("data", configs, settings, changes)
    datamodule.prepare_data()
    return datamodule


def _check(arguments: Namespace) -> int:
    fixed: list[str] = []
    try:
        fixed += _fix(arguments) if arguments.fix else []
        datamodule = read_datamodule(arguments.config, arguments.root, arguments.settings)
        findings = examine(datamodule, arguments.num_workers)
    except DataError as error:  # there is no datamodule to examine: even its class names cannot be read
        findings = doctor.Findings([Fault.of(error)])
    if arguments.json:
        print(json.dumps(findings.as_dict() | ({"fixed": fixed} if arguments.fix else {}), indent=1))
    else:
        for sentence in fixed:
            print(sentence)
        print_findings(findings)
    return 1 if findings.faults else 0


def _fix(arguments: Namespace) -> list[str]:
    """Mend what can be mended, and return a sentence about each thing."""
    from deeplab_lightning.settings.part import parse_part

    changes = {} if arguments.root is None else {"root": arguments.root}
    _, described = parse_part("data", arguments.config, arguments.settings, changes)
    if described.data.class_path.rpartition(".")[2] != FolderDataModule.__name__:
        raise UsageError(f"--fix is for folders of your own (FolderDataModule), not for {described.data.class_path}")
    own = described.data.init_args
    root = find_root(own.root)
    annotations = find_annotations(root, own.annotations)
    by_split = annotations is not None and SPLIT in str(annotations)
    lists = "" if own.split_ratio is not None or by_split else mend_lists(root)
    try:
        classes = mend_classes(root, annotations, arguments.num_workers)
    except DataError as error:
        classes = f"the classes are not mended: {error}"
    return [sentence for sentence in (classes, lists) if sentence]


def examine(datamodule: SegmentationDataModule, num_workers: int) -> doctor.Findings:
    """Check all splits of a datamodule.

    Args:
        datamodule: The datamodule.
        num_workers: Number of worker processes.
    """
    splits: dict[str, SegmentationDataset] = {}
    train, val, _ = datamodule.splits.values()
    with collecting() as faults:
        for name in dict.fromkeys(datamodule.splits.values()):
            try:
                splits[name] = datamodule.dataset(name, datamodule.eval_transform)
            except DataError as error:
                if name in (train, val) or not isinstance(error, NoSuchSplitError):  # data need not have a test split
                    faults.append(Fault.of(error))
    missing = {fault.file for fault in faults if not Path(fault.file).exists()}
    never_labelled = NEVER_LABELLED if isinstance(datamodule, COCODataModule | COCOStuffDataModule) else ()
    findings = doctor.examine(
        splits,
        train,
        datamodule.class_names,
        published=datamodule.published_images,
        never_labelled=never_labelled,
        num_workers=num_workers,
    )
    faults += [fault for fault in findings.faults if fault.file not in missing]  # missing files are already listed
    findings.faults = list(dict.fromkeys(faults))
    return findings


def print_findings(findings: doctor.Findings) -> None:
    """Print the numbers of images, the frequencies of the classes, and the faults."""
    console = Console(highlight=False)
    counts = [
        f"{name} {count}" + (f" ({findings.void_shares[name]:.1%} void)" if name in findings.void_shares else "")
        for name, count in findings.counts.items()
    ]
    console.print(f"images: {', '.join(counts) or 'none'}", markup=False)
    table = Table(title="training split", title_justify="left")
    for heading in ("class", "share of pixels", "images", "median-frequency weight"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name, row in findings.class_frequencies.items():
        hard = " (hard)" if name in HARD_CLASSES else ""
        numbers = f"{row['pixel_share']:.4f}", f"{row['images']:.0f}", f"{row['weight']:.3f}"
        table.add_row(Text(f"{name}{hard}"), *numbers)
    if table.rows:
        console.print(table)
    for name, values in findings.channels.items():
        console.print(f"data.{name} of the training images: {values}", markup=False, soft_wrap=True)
    for fault in findings.faults:
        console.print(fault.fault, markup=False, soft_wrap=True)
    count = len(findings.faults)
    console.print(f"{count or 'no'} fault{'' if count == 1 else 's'}")


def _show(arguments: Namespace) -> int:
    datamodule = read_datamodule(arguments.config, arguments.root, arguments.settings)
    dataset = datamodule.train_set()
    chosen = arguments.image_id or dataset.image_ids[:4]
    if unknown := [image_id for image_id in chosen if image_id not in dataset.image_ids]:
        raise DataError(f"the training split has no image {', '.join(unknown)}")
    indices = [dataset.image_ids.index(image_id) for image_id in chosen]
    picture = grid(dataset, indices, datamodule.train_transform, datamodule.palette)
    with naming(arguments.out) as path:
        picture.save(path)
    print(f"wrote {arguments.out}")
    return 0
