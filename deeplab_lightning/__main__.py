"""The program `deeplab`: it runs a command in the module that implements it, and reports errors in one sentence."""

import os
import re
import sys
from importlib import import_module

from deeplab_lightning import __version__
from deeplab_lightning.packaged import expand_experiment
from deeplab_lightning.usage import Ended, UsageError, expand_home, nearest

COMMANDS = {
    "train": ("commands.train", "train on a folder of your own with settings that are chosen for it"),
    "fit": ("cli", "train a model and save best.ckpt and last.ckpt"),
    "validate": ("cli", "score a checkpoint on the validation split"),
    "test": ("cli", "score a checkpoint on the test split"),
    "predict": ("cli", "write label maps for a folder of images"),
    "segment": ("commands.segment", "segment images and videos of any kind and size"),
    "export": ("commands.export", "write a model as one file for onnxruntime or torch, and compare it"),
    "benchmark": ("commands.benchmark", "measure latency and peak memory of a trained network"),
    "serve": ("commands.serve", "segment pictures on a page in the browser"),
    "describe": ("commands.describe", "count parameters and multiply-adds, compute the receptive field"),
    "data": ("commands.data", "download data sets, check them, show samples"),
    "crf-search": ("commands.crf_search", "search the dense CRF's settings for a checkpoint"),
    "weights": ("commands.weights", "list, download, convert and score published checkpoints"),
    "hub": ("commands.hub", "write a model with its card for the Hugging Face hub, and push it"),
    "ablate": ("commands.ablate", "train and score the tables of the papers"),
    "compare": ("commands.compare", "show why two scores differ, and what each part of the evaluation explains"),
    "report": ("commands.report", "show the scores of runs or tables in the terminal and on an HTML page"),
}
"""The module of each command, which is imported only when the command runs, and the command's line in the help."""
NO_MEMORY = (
    "Cannot allocate memory",  # a RuntimeError of torch on CPUs, with the system's message
    "failed to map segment",  # an ImportError of torch, with the dynamic linker's message
    "can't start new thread",  # a RuntimeError of Python
    "std::bad_alloc",  # a RuntimeError with the message of C++
    "could not create a primitive",  # a RuntimeError with the message of oneDNN
    "could not execute a primitive",  # the same
    "without exception set",  # a SystemError: Python had no memory for a MemoryError
    "without setting an exception",  # the same
)
"""The messages of out-of-memory errors that have no type of their own."""
LESS_MEMORY = {
    **dict.fromkeys(
        ("train", "fit", "validate", "test", "predict", "weights score"),
        "lower data.batch_size, data.crop_size or data.num_workers",
    ),
    "segment": "lower --batch_size, --workers or --tile, or use --device cpu",
    "serve": "serve fewer models, lower --megapixels, or use --device cpu",
    "benchmark": "lower --batch or --sizes, or use --device cpu",
    "data check": "lower --num-workers",
    "crf-search": "lower --workers",
}
"""Advice by command, or by its first words, where options make it need less memory."""
WORKER_FAILED = re.compile(r"Caught \w+ in DataLoader worker process")
"""The start of an error that torch raises again after a loader worker raised it. Its message is a traceback."""
WORKER_KILLED = "DataLoader worker"
"""The start of torch's RuntimeError about a loader worker that was killed by a signal."""
PARTIAL_BATCH = (EOFError, ConnectionResetError)
"""The errors of a loader whose worker died while sending a batch."""
PEER_GONE = ("Connection closed by peer", "Connection reset by peer")
"""The messages of gloo's RuntimeError when another process of a training has ended."""
HELP = """usage: deeplab COMMAND [OPTIONS]

DeepLab v1, v2, v3 and v3+ in PyTorch Lightning.

commands:
{commands}

`deeplab COMMAND --help` shows the options of a command. A first run:
  deeplab fit -c experiments/base.yaml -c experiments/data/shapes.yaml \\
    -c experiments/model/deeplab_v3plus.yaml -c experiments/scale/smoke.yaml
Set DEEPLAB_DATA to the folder of your data sets, and DEEPLAB_TRACEBACK=1 to see the traceback of an error."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command. A failure is reported in one sentence on standard error.

    Args:
        arguments: The command and its options; None for those of the command line.

    Returns:
        The exit status: 0 for success, 1 for a failure, 2 for wrong usage, 128 plus the signal's number for a signal.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS)) + 2
        print(HELP.format(commands="\n".join(f"  {name:{width}}{text}" for name, (_, text) in COMMANDS.items())))
        return 0
    if arguments[0] == "--version":
        print(f"deeplab_lightning {__version__}")
        return 0
    command, *options = (expand_experiment(expand_home(word)) for word in arguments)
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
        return _fail(_sentence(error, " ".join([command, *options])))
    return status


def _no_command(name: str) -> str:
    there = f"the commands are {', '.join(COMMANDS)}"
    if name.startswith("-"):
        return f"{name} must follow the command; write deeplab COMMAND {name} ...; {there}"
    alike = nearest(name, COMMANDS, 1) or [command for command, (_, text) in COMMANDS.items() if name in text.split()]
    return f"there is no command {name!r}; {f'did you mean {alike[0]}? T' if alike else 't'}{there[1:]}"


def _sentence(error: Exception, command: str) -> str:
    """A command's message for an error. For an error from a loader worker, it is the original message in the worker.

    Many errors about memory and lost processes have no type of their own and are recognised by their messages. An error
    with an unknown message is reported unchanged.
    """
    lines = _lines(error)
    if of_memory := next((each for each in _chain(error) if _is_of_memory(each)), None):
        advice = (f"; {text}" for words, text in LESS_MEMORY.items() if f"{command} ".startswith(f"{words} "))
        return f"out of memory ({_lines(of_memory)[0]}){next(advice, '')}"
    if WORKER_FAILED.match(lines[0]):
        return lines[-1].partition(": ")[2] or lines[-1]
    # torch raises it wherever the program is when the worker dies, such as within the writing of a checkpoint
    killed = next((_lines(each)[0] for each in _chain(error) if str(each).startswith(WORKER_KILLED)), None)
    if killed or type(error) in PARTIAL_BATCH:
        from deeplab_lightning.datamodules.workers import opened_last

        killed = killed or lines[0]
        images = " or ".join(opened_last(killed)) or "unknown"
        return (
            f"a loader worker was killed, by a lack of memory or a damaged image ({killed}); the last image that it "
            f"opened is {images}; lower data.num_workers or data.batch_size, or run `deeplab data check`, then resume "
            "with --ckpt_path last"
        )
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, str):
        return f"{error.filename}: {error.strerror}"
    if any(words in lines[0] for words in PEER_GONE):
        return (
            f"another process of this training has ended; see its output for the reason, then resume with "
            f"--ckpt_path last ({lines[0]})"
        )
    return " ".join(lines)


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error with its causes and contexts. A cleanup that fails after an out-of-memory error would hide it."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:  # causes and contexts together may form a cycle
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _is_of_memory(error: BaseException) -> bool:
    # torch.OutOfMemoryError is recognised by its name, because an import of torch would slow down small commands.
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in NO_MEMORY)


def _fail(message: str, status: int = 1) -> int:
    print(f"deeplab: error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
