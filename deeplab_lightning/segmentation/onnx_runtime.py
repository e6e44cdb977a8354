"""The only file that imports onnxruntime, whose messages to its maker it switches off before."""

import os
from importlib import import_module
from typing import Any

from deeplab_lightning.extras import require


def import_onnxruntime(module: str = "onnxruntime") -> Any:
    """Import onnxruntime, or a module of it.

    From 1.29 on, its wheels look up a collector, and write a device id and a database into the home folder, unless the
    environment says otherwise when the library is loaded. Processes that are started later inherit the variable.

    Args:
        module: Name of the module.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
    """
    require("export", "an ONNX model")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module(module)
