"""Measures the project on a GPU, piece by piece, and prints the tables for experiments/benchmarks/README.md.

Every piece runs in a process of its own, for at most eight minutes: one that fails does not stop the others. Its values
and their setting are written to OUT/PIECE.json, its output to OUT/PIECE.log. A finished piece is not repeated, one that
failed or ran out of its time is tried again: a training goes on from its last checkpoint. Without a GPU, nothing is
measured.

pieces:
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from tables import tables

from deeplab_lightning.atomic import write_atomically

HERE = Path(__file__).parent
PROGRAM = HERE / "piece.py"
SECONDS, GRACE = 480.0, 40.0
"""The longest duration of a piece, and the part of it that is left for its end."""
PIECES = {
    "v3_resnet50": "training speed of DeepLabv3 on ResNet-50 at output stride 16, beside torchvision's",
    "v3_resnet50_stride8": "the same at output stride 8, at which torchvision offers it",
    "v3plus_resnet101": "training speed of DeepLabv3+ on ResNet-101, beside segmentation-models-pytorch's",
    "v3plus_xception65": "the same on Xception-65",
    "v1_largefov": "training speed of DeepLab v1 LargeFOV",
    "crf": "speed and labels of the dense CRF's torch engine, beside one core of pydensecrf",
    "evaluation": "deeplab validate alone, with the CRF on the device, and with pydensecrf's pool",
    "ddp": "two processes on the one device over gloo, compared with one process",
    "resume": "a killed and resumed training compared with an undisturbed one",
    "camvid": "a training on CamVid to its end, over as many starts as it needs, and its test mIoU",
}

Record = dict[str, Any]
"""The content of a piece's file."""


def main(options: list[str]) -> int:
    """Run the pieces, print the tables, and return whether a piece failed."""
    arguments = parse(options)
    if arguments.device == "cuda" and not has_cuda():
        print("Nothing was measured: torch finds no GPU here (--device cpu --smoke tries every piece on a processor).")
        return 0
    out: Path = arguments.out
    failed = []
    console = Console(stderr=True)
    for number, name in enumerate(arguments.pieces, 1):
        record = read(out / f"{name}.json")
        if not arguments.again and is_finished(record, arguments):
            continue
        with console.status(f"{name} ({number} of {len(arguments.pieces)}): {PIECES[name]}"):
            status = run_piece(name, arguments)
        record = read(out / f"{name}.json")
        failed += [name] if status else []
        done = "done" if is_finished(record, arguments) else record.get("sentence", "")
        console.print(f"{name}: {done}", markup=False, highlight=False, soft_wrap=True)
    found = [read(out / f"{name}.json") for name in PIECES]
    print(tables([record for record in found if matches(record, arguments)]))
    return bool(failed)


def parse(options: list[str]) -> argparse.Namespace:
    """Parse the options."""
    width = max(map(len, PIECES))
    listed = "\n".join(f"  {name:{width}}  {text}" for name, text in PIECES.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("pieces", nargs="*", metavar="PIECE", help="pieces to run; default: all that are not finished")
    add("--out", type=Path, default=Path("runs/gpu"), help="folder of the results; default: runs/gpu")
    add("--device", choices=("cuda", "cpu"), default="cuda", help="device that is measured; default: cuda")
    add("--smoke", action="store_true", help="tiny sizes and few steps, to try the pieces; the numbers mean nothing")
    add("--again", action="store_true", help="repeat finished pieces too")
    arguments = parser.parse_args(options)
    if unknown := set(arguments.pieces) - PIECES.keys():
        parser.error(f"there is no piece {', '.join(sorted(unknown))}; choose from {', '.join(PIECES)}")
    arguments.pieces = arguments.pieces or list(PIECES)
    return arguments


def has_cuda() -> bool:
    """Whether torch finds a GPU."""
    import torch  # after --help

    return torch.cuda.is_available()


def run_piece(name: str, arguments: argparse.Namespace) -> int:
    """Run a piece in a process of its own, and return its exit status.

    A process that ends without having written its file, or is stopped at the limit, gets a file with a sentence.
    """
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    file, log = out / f"{name}.json", out / f"{name}.log"
    file.unlink(missing_ok=True)
    words = [name, str(out), arguments.device, str(SECONDS - GRACE), *(["--smoke"] if arguments.smoke else [])]
    paths = [str(HERE.parent / "benchmarks"), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "WANDB_MODE": "disabled"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *words],
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
        try:
            status = process.wait(SECONDS)
            sentence = f"its process ended with {ending(status)}; see {log}"
        except subprocess.TimeoutExpired:
            status, sentence = 1, f"it was stopped after {SECONDS / 60:g} minutes; see {log}"
        finally:
            end_group(process)
    if not file.is_file():
        status = status or 1
        record = {"piece": name, "device": arguments.device, "smoke": arguments.smoke, "sentence": sentence}
        write_atomically(file, json.dumps(record, indent=1) + "\n")
    return status


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a piece's process and the processes that it started."""
    with suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ending(status: int) -> str:
    """The words for an exit status."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def read(path: Path) -> Record:
    """The content of a piece's file; nothing where there is none, or none that can be read."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def matches(record: Record, arguments: argparse.Namespace) -> bool:
    """Whether a record is of the same device and of the same sizes."""
    return bool(record.get("device") == arguments.device and record.get("smoke") == arguments.smoke)


def is_finished(record: Record, arguments: argparse.Namespace) -> bool:
    """Whether a piece has its values."""
    return matches(record, arguments) and bool(record.get("values"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
