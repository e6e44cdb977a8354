"""The progress of a run: bars in a terminal, elsewhere a line now and then."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich import get_console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

BARS_EVERY = 0.1  # seconds
LINE_EVERY = 60.0  # seconds
SHORTEST_BAR = 8  # characters


@dataclass
class Stage:
    """The progress of a training, an evaluation or a prediction.

    Args:
        name: Name of the stage.
        unit: Name of the things that are counted.
        total: Number of all; None where nobody knows.
        start: Number that were done before this process.
        begun: Time of its start, in seconds of a clock.
        done: Number that are done.
        notes: Further words on it, the most important first.
    """

    name: str
    unit: str
    total: int | None
    start: int
    begun: float
    done: int = 0
    notes: Sequence[str] = field(default_factory=tuple)

    def seconds_left(self, now: float) -> float | None:
        """The seconds that are left at the pace so far; None where nothing is known of it yet."""
        own = self.done - self.start
        return None if self.total is None or own <= 0 else (self.total - self.done) * (now - self.begun) / own

    def head(self) -> str:
        """The words before the bar."""
        return f"{self.name} {self.done}" + ("" if self.total is None else f"/{self.total}")

    def tail(self, now: float, room: int) -> str:
        """The words behind the bar: the time left, and as many of the notes as there is room for.

        Args:
            now: The time in seconds of the clock.
            room: Number of characters that fit.
        """
        words: list[str] = []
        for part in (_time_left(self.seconds_left(now)), *self.notes):
            room -= len(part) + (2 if words else 0)
            if room < 0:
                break
            words.append(part)
        return "  ".join(words)

    def line(self, now: float) -> str:
        """All of it as a line without a bar."""
        done = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        return ", ".join((f"{self.name}: {done} {self.unit}", _time_left(self.seconds_left(now)), *self.notes))


class RunProgress(ProgressBar):
    """Steps of all steps with the time left, the score of the last validation, the loss and the rate; images of all.

    In a terminal these are bars, below what is printed, that go when the run ends. Where the output goes elsewhere, and
    in a notebook, they are a line a minute.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_enabled = True
        self._shown = 0.0
        self._training: Stage | None = None
        self._images: Stage | None = None
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._streams: dict[logging.StreamHandler[Any], Any] = {}

    def enable(self) -> None:
        """Show what comes."""
        self._is_enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning asks for it on all ranks but the first."""
        self._is_enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bars."""
        get_console().print(*args, **kwargs)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count steps."""
        steps = trainer.estimated_stepping_batches
        total = None if steps == float("inf") else int(steps)
        done = trainer.global_step
        self._training = Stage("training", "steps", total, start=done, begun=monotonic(), done=done)
        self._open()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step."""
        assert self._training is not None
        self._training.done = trainer.global_step
        if self._is_due():  # reading a metric waits for the device
            self._training.notes = notes(trainer)
            self._show()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bars away."""
        self._stop()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count images."""
        if not trainer.sanity_checking:
            self._begin("validation", trainer.val_dataloaders, trainer.num_val_batches)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count images."""
        self._begin("test", trainer.test_dataloaders, trainer.num_test_batches)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count images."""
        self._begin("prediction", trainer.predict_dataloaders, trainer.num_predict_batches)

    def _begin(self, name: str, loader: Any, batches: Sequence[float]) -> None:
        in_batches = int(sum(batches)) * self.trainer.datamodule.eval_batch_size * self.trainer.world_size  # type: ignore[attr-defined]
        total = min(len(loader.dataset), in_batches)
        self._images = Stage(name, "images", total, start=0, begun=monotonic())
        self._open()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the images of a batch."""
        self._count(batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the images of a batch."""
        self._count(batch)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the images of a batch."""
        self._count(batch)

    def _count(self, batch: Any) -> None:
        if self._images is not None and self._images.total is not None:
            of_all_ranks = self._images.done + len(batch["image"]) * self.trainer.world_size
            self._images.done = min(self._images.total, of_all_ranks)
            if self._is_due():
                self._show()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the images' bar away and show the score; without a training, take all away."""
        self._images = None
        if self._training is None:
            self._stop()
        elif self._bars is not None:
            self._bars.remove_task(self._tasks.pop("validation"))
            self._training.notes = notes(trainer)
            self._draw()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bars away."""
        self._stop()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bars away."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the bars away."""
        self._stop()

    def _open(self) -> None:
        if self._is_enabled and in_terminal():
            self._draw()
        self._shown = monotonic()  # the first line comes when a minute is over

    def _is_due(self) -> bool:
        return self._is_enabled and monotonic() - self._shown >= (BARS_EVERY if in_terminal() else LINE_EVERY)

    def _show(self) -> None:
        self._shown = monotonic()
        if in_terminal():
            self._draw()
        else:
            say(self._stages()[-1].line(self._shown))

    def _stages(self) -> list[Stage]:
        return [stage for stage in (self._training, self._images) if stage is not None]

    def _draw(self) -> None:
        bars = self._bars = self._bars or self._start()
        stages = self._stages()
        room = bars.console.width - max(len(stage.head()) for stage in stages) - SHORTEST_BAR - 2  # two blanks
        for stage in stages:
            if stage.name not in self._tasks:
                self._tasks[stage.name] = bars.add_task("", total=stage.total, head="", tail="")
            tail = stage.tail(monotonic(), room)
            bars.update(self._tasks[stage.name], completed=stage.done, head=stage.head(), tail=tail, refresh=False)
        bars.refresh()

    def _start(self) -> Progress:
        head, tail = (TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("head", "tail"))
        columns = head, BarColumn(None), tail
        bars = Progress(*columns, console=get_console(), auto_refresh=False, transient=True, expand=True)
        bars.start()
        for name in ("lightning.pytorch", "lightning.fabric"):
            for handler in logging.getLogger(name).handlers:
                if isinstance(handler, logging.StreamHandler):  # it has the standard error from before the bars
                    self._streams[handler] = handler.setStream(sys.stderr)
        return bars

    def _stop(self) -> None:
        self._training = self._images = None
        for handler, stream in self._streams.items():
            handler.setStream(stream)
        self._streams = {}
        if self._bars is not None:
            self._bars.stop()
        self._bars, self._tasks = None, {}


def in_terminal() -> bool:
    """Whether what is printed goes to a terminal that can move its cursor."""
    console = get_console()
    return console.is_terminal and not console.is_dumb_terminal


def say(text: str) -> None:
    """Print a line, above the bars where there are some; a terminal breaks it between words, a file has it whole."""
    console = get_console()
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def notes(trainer: Trainer) -> list[str]:
    """The words on a training: the score of the last validation, the loss of the last step, its learning rate."""
    metrics = trainer.callback_metrics
    found = [f"mIoU {metrics['val/miou']:.4f}"] if "val/miou" in metrics else []
    found += [f"loss {metrics['train/loss']:.3f}"] if "train/loss" in metrics else []
    return [*found, f"lr {trainer.optimizers[0].param_groups[0]['lr']:.2g}"]


def _time_left(seconds: float | None) -> str:
    return "-:--:-- left" if seconds is None else f"{_clock(round(seconds))} left"


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
