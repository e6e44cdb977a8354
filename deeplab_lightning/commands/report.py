"""`deeplab report`: the scores of runs, or of tables beside the papers' numbers, in the terminal and on a page."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from deeplab_lightning.ablation.outcomes import read_folder
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.runner import RUNS
from deeplab_lightning.ablation.scales import PAPER_SCALE, SCALES
from deeplab_lightning.ablation.table import read_table, table_files
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.packaged import find_experiment
from deeplab_lightning.reports.compare import compare
from deeplab_lightning.reports.gallery import gather
from deeplab_lightning.reports.markdown import comparison_section, gallery_numbers
from deeplab_lightning.reports.terminal import print_comparison, print_line, print_run
from deeplab_lightning.reports.wandb_runs import read_wandb
from deeplab_lightning.run_reader import read_run
from deeplab_lightning.usage import Parser

PAGE = "report.html"


def run(command: str, options: list[str]) -> int:
    """Read run folders or tables, print their scores, and write the page."""
    parser = _parser(command)
    arguments = parser.parse_args(options)
    files = [file for path in arguments.path for file in table_files(path)]
    if arguments.runs and arguments.wandb:
        parser.error("--runs and --wandb are two sources of the same runs; choose one")
    if files:
        folders = [path for path in arguments.path if not table_files(path)]
        if folders:
            parser.error(f"tables and run folders need separate reports; {folders[0]} is not a table")
        return _report_tables(files, arguments)
    if arguments.scale or arguments.runs or arguments.wandb:
        parser.error("--scale, --runs and --wandb are for tables, but only run folders were given")
    return _report_runs(arguments.path, arguments)


def _parser(command: str) -> Parser:
    parser = Parser(
        prog=f"deeplab {command}",
        description="Show the scores of runs, or the papers' tables beside the scores that `deeplab ablate` measured, "
        "in the terminal and on one HTML page. Every number comes with the way in which it was measured.",
    )
    parser.add_argument(
        "path",
        nargs="+",
        type=find_experiment,
        help="run folders (the trainer.default_root_dir of their commands), or tables: files or folders of "
        "experiments/ablations",
    )
    parser.add_argument("--scale", choices=SCALES, help="for tables: scale of the measured scores; default: paper")
    parser.add_argument("--runs", type=Path, help=f"for tables: the --runs of `deeplab ablate`; default: {RUNS}")
    parser.add_argument(
        "--wandb",
        metavar="[ENTITY/]PROJECT",
        help="for tables: read the runs from the W&B server, or from a folder `wandb` of this machine, not from --runs",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON instead: a list of {run, split, metric, value, identity} for runs, of {table, title, scale, "
        "rows} for tables",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="path of the page; tables get a markdown file beside it; default: report.html in the run folder, or in "
        "the current folder for several runs or tables",
    )
    return parser


def _report_tables(files: Sequence[Path], arguments: Namespace) -> int:
    scale = arguments.scale or PAPER_SCALE
    root = None if arguments.wandb else (arguments.runs or RUNS) / scale
    if arguments.runs and not (arguments.runs / scale).is_dir():
        raise FileNotFoundError(f"{arguments.runs / scale}: no such folder; `deeplab ablate` creates it in its --runs")
    outcomes = read_wandb(arguments.wandb) if root is None else read_folder(root)
    plans = [plan_table(read_table(file), scale) for file in files]
    comparisons = [compare(plan, outcomes) for plan in plans]
    if arguments.json:
        print(json.dumps([comparison.as_dict() for comparison in comparisons], indent=1))
        return 0
    from deeplab_lightning.reports import page

    output = arguments.output or Path(PAGE)
    galleries = [gather(plan, outcomes, root) for plan in plans]
    _warn(fault for gallery in galleries for fault in gallery.faults)
    tables = list(zip(comparisons, galleries, strict=True))
    page.write(output, [], tables)
    sections = [comparison_section(comparison) + gallery_numbers(gallery) for comparison, gallery in tables]
    write_atomically(output.with_suffix(".md"), "\n".join(sections))
    console = Console()
    for comparison in comparisons:
        print_comparison(console, comparison)
    console.print(f"wrote {output} and {output.with_suffix('.md')}", markup=False, soft_wrap=True)
    return 0


def _report_runs(folders: Sequence[Path], arguments: Namespace) -> int:
    runs = [read_run(folder) for folder in folders]
    _warn(fault for each in runs for fault in each.faults)
    if arguments.json:
        records = [{"run": each.name} | score.as_record() for each in runs for score in each.scores]
        print(json.dumps(records, indent=1))
        return 0
    from deeplab_lightning.reports import page

    output = arguments.output or (folders[0] if len(runs) == 1 else Path()) / PAGE
    page.write(output, runs)
    console = Console()
    for each in runs:
        print_run(console, each)
    print_line(console, f"wrote {output}")
    return 0


def _warn(faults: Iterable[str]) -> None:
    """Print each fault once to standard error, so that it does not mix with the JSON on standard output."""
    for fault in dict.fromkeys(faults):
        print(f"deeplab: warning: {fault}", file=sys.stderr)
