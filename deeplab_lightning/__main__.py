"""The command `deeplab`: its commands, the modules that hold them, and one sentence for whatever goes wrong."""

import os
import re
import sys
from importlib import import_module

from deeplab_lightning import __version__
from deeplab_lightning.usage import Ended, UsageError, expand_home, nearest

COMMANDS = {
    "fit": ("cli", "train a model; saves best.ckpt and last.ckpt"),
    "validate": ("cli", "score a checkpoint on the validation split"),
    "test": ("cli", "score a checkpoint on the test split"),
    "predict": ("cli", "write label maps for a folder of images"),
    "describe": ("commands.describe", "parameters, multiply-adds and fields of view of a network"),
    "data": ("commands.data", "fetch data sets, check them, look at samples"),
    "crf-search": ("commands.crf_search", "search the dense CRF's settings for a checkpoint"),
    "ablate": ("commands.ablate", "train and score the tables of the papers, one file a table"),
    "report": ("commands.report", "put what runs left behind into one table and one HTML page"),
}
"""By name, the module that holds a command, imported when it is asked for, and its line in the help."""
NO_MEMORY = (
    "Cannot allocate memory",  # torch's RuntimeError on a processor, with the system's words
    "failed to map segment",  # the dynamic linker's, an ImportError of torch
    "can't start new thread",  # Python's RuntimeError
    "std::bad_alloc",  # of C++, a RuntimeError
)
"""Words of errors for want of memory that have no type of their own."""
WORKER_FAILED = re.compile(r"Caught \w+ in DataLoader worker process")
"""Begin of an error that torch brings from a loader worker: of the same type, with a traceback as its text."""
WORKER_KILLED = "DataLoader worker"
"""Begin of torch's RuntimeError on a loader worker that a signal has ended."""
HALF_A_BATCH = (EOFError, ConnectionResetError)
"""Errors of a loader that reads what a worker was sending when it died."""
PEER_GONE = ("Connection closed by peer", "Connection reset by peer")
"""Words of gloo's RuntimeError when another process of a training has ended."""
HELP = """usage: deeplab COMMAND [OPTIONS]

DeepLab v1, v2, v3 and v3+ in PyTorch Lightning.

commands:
{commands}

`deeplab COMMAND --help` shows the options of a command. A first run:
  deeplab fit -c experiments/base.yaml -c experiments/data/shapes.yaml \\
    -c experiments/model/deeplab_v3plus.yaml -c experiments/scale/smoke.yaml
Set DEEPLAB_DATA to the folder that holds your data sets, DEEPLAB_TRACEBACK=1 to see where an error comes from."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; a failure is one sentence on standard error.

    Args:
        arguments: The command and its options; those of the command line when not given.

    Returns:
        The exit status: 0, 1 for a failure, 2 for wrong usage, 128 plus its number for a signal.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS)) + 2
        print(HELP.format(commands="\n".join(f"  {name:{width}}{text}" for name, (_, text) in COMMANDS.items())))
        return 0
    if arguments[0] == "--version":
        print(f"deeplab_lightning {__version__}")
        return 0
    command, *options = map(expand_home, arguments)
    if command not in COMMANDS:
        return _fail(_no_command(command), 2)
    if root := os.environ.get("DEEPLAB_DATA"):
        os.environ["DEEPLAB_DATA"] = expand_home(root)
    try:
        run = import_module(f"deeplab_lightning.{COMMANDS[command][0]}").run
        status: int = run(command, options)
    except KeyboardInterrupt:
        return _fail("ended by SIGINT", 130)
    except Ended as ended:
        return _fail(f"ended by {ended.name}", ended.status)
    except UsageError as error:
        return _fail(str(error), 2)
    except Exception as error:
        if os.environ.get("DEEPLAB_TRACEBACK"):
            raise
        return _fail(_sentence(error))
    return status


def _no_command(name: str) -> str:
    there = f"the commands are {', '.join(COMMANDS)}"
    if name.startswith("-"):
        return f"{name} stands before the command; write deeplab COMMAND {name} ...; {there}"
    alike = nearest(name, COMMANDS, 1) or [command for command, (_, text) in COMMANDS.items() if name in text.split()]
    return f"there is no command {name!r}; {f'did you mean {alike[0]}? T' if alike else 't'}{there[1:]}"


def _sentence(error: Exception) -> str:
    """The message of an error; of one that comes from a loader worker, the message that it had there.

    Torch and the system give want of memory and lost processes no types of their own, so that these are known by their
    words alone. Where the words are others, the message is shown as it is.
    """
    lines = _lines(error)
    if of_memory := next((each for each in _chain(error) if _is_of_memory(each)), None):
        return f"out of memory ({_lines(of_memory)[0]}); lower data.batch_size, data.crop_size or data.num_workers"
    if WORKER_FAILED.match(lines[0]):
        return lines[-1].partition(": ")[2] or lines[-1]
    if lines[0].startswith(WORKER_KILLED) or type(error) in HALF_A_BATCH:
        from deeplab_lightning.datamodules.workers import opened_last

        images = " or ".join(opened_last(lines[0])) or "unknown"
        return (
            f"a loader worker was killed, for want of memory or by a damaged image ({lines[0]}); the last that it "
            f"opened is {images}; lower data.num_workers or data.batch_size, or see what `deeplab data check` says: "
            "--ckpt_path last goes on"
        )
    if any(words in lines[0] for words in PEER_GONE):
        return f"another process of this training has ended, its output says why: --ckpt_path last goes on ({lines[0]})"
    return " ".join(lines)


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and those that came before it: cleaning up after an error may fail too, and hide it."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:  # causes and contexts together may go round in a circle
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _is_of_memory(error: BaseException) -> bool:
    # torch.OutOfMemoryError by its name: whoever has not imported torch has not run into it
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in NO_MEMORY)


def _fail(message: str, status: int = 1) -> int:
    print(f"deeplab: error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
