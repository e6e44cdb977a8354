"""A training in a terminal of 80 columns."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.patience import PATIENCE

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(command: list[str], columns: int) -> tuple[int, str]:
    """The status of a command in a terminal so wide, and all that it writes there."""
    own, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    environment |= {"TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    written = b""
    try:
        while block := os.read(own, 65536):
            written += block
    except OSError:  # the last process has closed the terminal
        pass
    os.close(own)
    return process.wait(PATIENCE), written.decode()


@pytest.mark.slow
def test_a_training_fits_into_80_columns(experiment: list[str], tmp_path: Path) -> None:
    shown = ["--trainer.enable_progress_bar", "true", "--trainer.enable_model_summary", "true"]
    status, written = in_terminal([sys.executable, "-m", "deeplab_lightning", "fit", *experiment, *shown], 80)
    assert status == 0, written
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", written))]
    bars = [line for line in lines if "━" in line]
    printed = lines[lines.index(next(line for line in lines if line.startswith("DeepLabV3Plus: "))) :]
    printed = [line for line in printed if str(tmp_path) not in line]  # long paths are no fault
    assert max(map(len, (*bars, *printed))) <= 80
    assert any(re.fullmatch(r"training 0/6 ━+ -:--:-- left", line) for line in bars)
    assert any(re.search(r"━ \d:\d\d:\d\d left  mIoU 0\.\d{4}  loss \d\.\d{3}  lr 0", line) for line in bars)
    assert any(line.startswith("validation 0/5 ") for line in bars)
    assert not any(word in written for word in ("Epoch", "FLOPs", "Sanity"))
    text = " ".join(lines)
    assert len(re.findall(r"step \d: val/miou 0\.\d{4}", text)) == 2
    assert text.count("5 images, masks of") == 1
