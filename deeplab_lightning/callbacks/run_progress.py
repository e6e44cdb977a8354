"""The progress of a run: bars in a terminal, or else a line per minute."""

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

from deeplab_lightning.modules.trainer_data import datamodule_of

BARS_EVERY = 0.1  # seconds
LINE_EVERY = 60.0  # seconds
SHORTEST_BAR = 8  # characters


@dataclass
class Stage:
    """The progress of a training, an evaluation or a prediction.

    Args:
        name: Name of the stage.
        unit: Name of the counted units.
        total: Total number of units; None if unknown.
        start: Number of units that an earlier process has done.
        begun: Time of the start of the stage, in seconds of a clock.
        done: Number of units that are done.
        notes: Further information, the most important first.
    """

    name: str
    unit: str
    total: int | None
    start: int
    begun: float
    done: int = 0
    notes: Sequence[str] = field(default_factory=tuple)

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds left at the present speed; None if it is not known yet."""
        own = self.done - self.start
        return None if self.total is None or own <= 0 else (self.total - self.done) * (now - self.begun) / own

    def head(self) -> str:
        """Return the text before the bar."""
        return f"{self.name} {self.done}" + ("" if self.total is None else f"/{self.total}")

    def tail(self, now: float, room: int) -> str:
        """Return the text after the bar: the time left, and as many of the notes as fit.

        Args:
            now: Present time in seconds of the clock.
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
        """Return the progress as a line without a bar."""
        done = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        return ", ".join((f"{self.name}: {done} {self.unit}", _time_left(self.seconds_left(now)), *self.notes))


class RunProgress(ProgressBar):
    """Shows the steps or images done, the time left and, for a training, the last mIoU, the loss and the learning rate.

    In a terminal these are bars below the printed lines, which disappear at the end of the run. In a notebook, and if
    the output is not a terminal, they are one line per minute.
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
        """Show the progress."""
        self._is_enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls this on all ranks except the first."""
        self._is_enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bars."""
        get_console().print(*args, **kwargs)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count steps."""
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
        if self._is_due():  # not at every step, because reading a metric waits for the device
            self._training.notes = notes(trainer)
            self._show()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the bars."""
        self._stop()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count images."""
        if not trainer.sanity_checking:
            self._begin("validation", trainer.val_dataloaders, trainer.num_val_batches)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count images."""
        self._begin("test", trainer.test_dataloaders, trainer.num_test_batches)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count images."""
        self._begin("prediction", trainer.predict_dataloaders, trainer.num_predict_batches)

    def _begin(self, name: str, loader: Any, batches: Sequence[float]) -> None:
        in_batches = int(sum(batches)) * datamodule_of(self.trainer).eval_batch_size * self.trainer.world_size
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
        """Remove the images' bar and show the score; outside a training, remove all bars."""
        self._images = None
        if self._training is None:
            self._stop()
        elif self._bars is not None:
            self._bars.remove_task(self._tasks.pop("validation"))
            self._training.notes = notes(trainer)
            self._draw()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the bars."""
        self._stop()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the bars."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the bars."""
        self._stop()

    def _open(self) -> None:
        if self._is_enabled and in_terminal():
            self._draw()
        self._shown = monotonic()  # the first line follows after a minute

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
                if isinstance(handler, logging.StreamHandler):  # it still writes to the stderr from before the bars
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
    """Return whether the output goes to a terminal that can move its cursor."""
    console = get_console()
    return console.is_terminal and not console.is_dumb_terminal


def say(text: str) -> None:
    """Print a line, above any bars; a terminal wraps it between words, a file gets it unwrapped."""
    console = get_console()
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def notes(trainer: Trainer) -> list[str]:
    """Return notes on a training: the score of the last validation, the loss of the last step and its learning rate."""
    metrics = trainer.callback_metrics
    found = [f"mIoU {metrics['val/miou']:.4f}"] if "val/miou" in metrics else []
    found += [f"loss {metrics['train/loss']:.3f}"] if "train/loss" in metrics else []
    return [*found, f"lr {trainer.optimizers[0].param_groups[0]['lr']:.2g}"]


def _time_left(seconds: float | None) -> str:
    return "-:--:-- left" if seconds is None else f"{_clock(round(seconds))} left"


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
