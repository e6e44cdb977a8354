"""Notebooks, run in this process. A kernel of their own would import torch and Lightning again, which takes longest."""

import builtins
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import matplotlib as mpl
import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import CapturedIO, RichOutput, capture_output
from matplotlib_inline.backend_inline import configure_inline_support
from matplotlib_inline.config import InlineBackend
from traitlets.config import Config

from tests.integration.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


class Shell(InteractiveShell):
    """IPython without a terminal, a history and a place on `sys.path`."""

    def enable_gui(self, gui: Any = None) -> None:
        """Nothing to do: figures are drawn inline."""

    def init_path(self) -> None:
        """Leave `sys.path` as it is."""


@contextmanager
def shell() -> Iterator[Shell]:
    """An empty namespace for a notebook; what IPython and a notebook change in this process is undone."""
    logger = logging.getLogger("lightning.pytorch")
    level, backend = logger.level, mpl.get_backend()
    module = ModuleType("notebook_under_test")
    made = Shell.instance(user_module=module, config=Config({"HistoryManager": {"enabled": False}}))
    try:
        yield made
    finally:
        mpl.use(backend)
        # Otherwise the next shell would not draw inline.
        configure_inline_support(made, backend)  # type: ignore[no-untyped-call]
        InlineBackend.clear_instance()
        Shell.clear_instance()
        for name in ("__IPYTHON__", "display"):
            vars(builtins).pop(name, None)
        sys.modules.pop(module.__name__, None)
        logger.setLevel(level)


def read(name: str) -> nbformat.NotebookNode:
    """A notebook by its name."""
    notebook: nbformat.NotebookNode = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)  # type: ignore[no-untyped-call]
    return notebook


def cells(own: Shell, name: str) -> Iterator[tuple[nbformat.NotebookNode, CapturedIO | None]]:
    """Run a notebook; yield each cell, and what it displays and prints if it is code."""
    for cell in read(name).cells:
        captured = None
        if cell.cell_type == "code":
            with capture_output() as captured:
                own.run_cell(cell.source, store_history=True).raise_error()  # type: ignore[no-untyped-call]
        yield cell, captured


def run(name: str, asked: str) -> tuple[list[RichOutput], Any]:
    """Run a notebook; return what it displays, and the value of an expression."""
    with shell() as own:
        displayed = [output for _, captured in cells(own, name) if captured for output in captured.outputs]
        return displayed, own.ev(asked)  # type: ignore[no-untyped-call]
