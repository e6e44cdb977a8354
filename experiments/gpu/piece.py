"""One piece of the measurements in this process; `run.py` starts one such process for each.

    python piece.py NAME OUT DEVICE SECONDS [--smoke]

Writes OUT/NAME.json, whole or not at all: the values with their setting, or the sentence that says why there are none.
The exit status is 1 after an error, and 0 otherwise.
"""

import argparse
import json
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import camvid
import crf_speed
import ddp_exactness
import evaluation_speed
import resume_exactness
import torch
import training_speed
from networks import CASES
from session import Session, Unfinished, Values, sentence_of

from deeplab_lightning.atomic import write_atomically

MEASURES: dict[str, Callable[[Session], Values]] = {
    **{name: partial(training_speed.measure, name) for name in CASES},
    "crf": crf_speed.measure,
    "evaluation": evaluation_speed.measure,
    "ddp": ddp_exactness.measure,
    "resume": resume_exactness.measure,
    "camvid": camvid.measure,
}
"""The functions that measure, by the names of the pieces."""


def main(options: list[str]) -> int:
    """Measure a piece, and write its file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=MEASURES)
    parser.add_argument("out", type=Path)
    parser.add_argument("device", type=torch.device)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args(options)
    warnings.filterwarnings("ignore")
    folder: Path = arguments.out / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    session = Session(folder.resolve(), arguments.device, arguments.smoke, arguments.seconds)
    values, sentence, status = None, "", 0
    try:
        values = MEASURES[arguments.name](session)
    except Unfinished as reason:
        sentence = str(reason)
    except Exception as error:  # of any kind: it becomes a sentence of the report
        traceback.print_exc()
        sentence, status = sentence_of(error), 1
    record = {
        "piece": arguments.name,
        "device": str(arguments.device),
        "smoke": session.smoke,
        "values": values,
        "sentence": sentence,
        "setting": session.setting(),
    }
    write_atomically(arguments.out / f"{arguments.name}.json", json.dumps(record, indent=1) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
