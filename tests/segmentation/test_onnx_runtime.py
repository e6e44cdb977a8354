"""onnxruntime is imported in one place, and keeps quiet there."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import deeplab_lightning
from deeplab_lightning.extras import is_installed

PACKAGE = Path(deeplab_lightning.__file__).parent
PROGRAM = """
import sys
from deeplab_lightning.segmentation.onnx_runtime import import_onnxruntime
onnxruntime = import_onnxruntime()
onnxruntime.SessionOptions()
import_onnxruntime("onnxruntime.capi")
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("is_quiet", [True, False])
def test_nothing_is_written_below_the_home_folder(tmp_path: Path, is_quiet: bool) -> None:
    """Without the variable, onnxruntime writes there: if it no longer does, this test has lost its meaning."""
    if not is_installed("export"):  # an import in this process would write below the folder as well
        pytest.skip("no onnxruntime")
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    program = PROGRAM if is_quiet else "import onnxruntime; onnxruntime.SessionOptions()"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    release = tuple(map(int, version("onnxruntime").split(".")[:2]))
    if is_quiet:
        assert list(tmp_path.rglob("*")) == []
    elif sys.platform == "linux" and release >= (1, 29):
        assert [path for path in tmp_path.rglob("*") if path.is_file()]


def test_no_file_imports_it_by_itself() -> None:
    pattern = re.compile(r"^ *(import|from) onnxruntime\b|import_module\([\"']onnxruntime", re.MULTILINE)
    assert [path for path in PACKAGE.rglob("*.py") if pattern.search(path.read_text())] == []
    assert pattern.search("    import onnxruntime")
    assert pattern.search('import_module("onnxruntime.quantization")')
