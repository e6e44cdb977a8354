"""Scoring published checkpoints by the protocols of their published scores, beside the published numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

from deeplab_lightning.ablation.released import (
    DATA,
    crf_callback,
    model_settings,
    protocol_settings,
    reason_against,
)
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.identity import describe_identity
from deeplab_lightning.published.entries import Entry, PublishedScore
from deeplab_lightning.reports.grid import Grid, mark, numbered
from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.run_reader import read_scores
from deeplab_lightning.scores import Score, ScoreName
from deeplab_lightning.settings.compose import compose

HIDDEN = "the masks are not public; `deeplab ablate experiments/ablations/released_weights.yaml` writes label maps"
HEADINGS = ("published", "ours", "protocol", "measured as")


def score_published(entry: Entry, root: str, split: str | None, out: Path, options: Sequence[str] = ()) -> int:
    """Measure the published scores of a checkpoint again, and print them beside ours.

    Args:
        entry: The checkpoint.
        root: Folder of the data set.
        split: Split to score; None for the published one.
        out: Folder of the records.
        options: Further options of `deeplab validate`.

    Returns:
        The exit status: 1 if no score could be measured.
    """
    rows: list[tuple[PublishedScore, Score | str]] = []
    measured: dict[PublishedScore, list[Score]] = {}
    for number, published in enumerate(entry.scores):
        reason = reason_against(entry, published) or (HIDDEN if published.split == "test" and split is None else "")
        if reason:
            rows.append((published, reason))
            continue
        run = _with_crf(published, entry.scores)
        if run not in measured:
            measured[run] = _validate(entry, run, root, split, out=out / entry.name / str(number), options=options)
        name = ScoreName("val", "miou", refined=published.crf is not None)
        rows.append((published, next(score for score in measured[run] if score.name == name)))
    _print(entry, rows)
    return 0 if measured else 1


def _with_crf(published: PublishedScore, others: Sequence[PublishedScore]) -> PublishedScore:
    """Return the score that is measured in one run with this one: the same with a CRF, which gives both."""

    def bare(score: PublishedScore) -> PublishedScore:
        return replace(score, crf=None, miou=0.0, pixel_accuracy=None, uncertain=None)

    same = [each for each in others if bare(each) == bare(published) and each.crf is not None]
    return same[0] if same else published


def _validate(
    entry: Entry, published: PublishedScore, root: str, split: str | None, *, out: Path, options: Sequence[str]
) -> list[Score]:
    """Run `deeplab validate` with a published protocol, and return its scores."""
    from deeplab_lightning.cli import run  # here because it imports Lightning

    data: dict[str, Any] = {"class_path": DATA[published.data], "init_args": {"root": root}}
    if split is not None:
        data["init_args"]["val_split"] = split
    settings = compose([{"model": model_settings(entry), "data": data}], protocol_settings(entry, published))
    if published.crf is not None:
        settings["trainer"] = {"callbacks": [crf_callback(published.crf)]}
    config = out / "protocol.yaml"
    write_atomically(config, yaml.safe_dump(settings, sort_keys=False))
    words = ["-c", str(config), "--ckpt_path", entry.name, "--trainer.default_root_dir", str(out)]
    run("validate", [*words, "--wandb.mode", "disabled", *options])
    newest = RunFolder(out).recorded_logs("validate")[-1]
    return read_scores(newest.evaluation)


def _print(entry: Entry, rows: Sequence[tuple[PublishedScore, Score | str]]) -> None:
    identities = list(dict.fromkeys(describe_identity(score.identity) for _, score in rows if isinstance(score, Score)))
    cells = [[f"{published.miou:.2f}", *_cells(score, identities, published)] for published, score in rows]
    console = Console(highlight=False, soft_wrap=True)
    console.print(Grid(list(HEADINGS), cells).for_terminal(f"{entry.name}, mIoU in percent", right=HEADINGS[:2]))
    for line in numbered(identities):
        console.print(Text(line))


def _cells(score: Score | str, identities: Sequence[str], published: PublishedScore) -> Iterator[str]:
    if isinstance(score, str):
        yield from ("", published.protocol, f"not measured: {score}")
    else:
        yield f"{100 * score.value:.2f}"
        yield published.protocol
        yield mark(identities.index(describe_identity(score.identity)) + 1)
