"""`deeplab serve`: a page on this machine that segments the pictures that are dropped on it."""

import os
import signal
import socket
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deeplab_lightning.commands.segment import VALUE_RANGE_HELP
from deeplab_lightning.extras import require
from deeplab_lightning.segmentation.loading import load
from deeplab_lightning.serving.answers import ServedModel
from deeplab_lightning.serving.limits import Limits
from deeplab_lightning.usage import Ended, Parser, UsageError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
"""The variables that keep Gradio and its libraries from opening connections; they are read at their import."""
WARNING = "warning: whoever reaches {} can use the page, which has neither passwords nor encryption"
EPILOG = """The page shows each model's label map over the picture, the shares of the classes, and the probabilities
under the pointer; the label map and its polygons can be saved. Nothing is sent to another machine, and uploaded
pictures are deleted after ten minutes. Ctrl-C ends the server."""


def run(command: str, options: list[str]) -> int:
    """Serve the page until a signal ends it."""
    arguments = parse(command, options)
    limits = limits_of(arguments)
    require("serve", "deeplab serve")
    os.environ.update(QUIET)
    for path in arguments.examples:
        if not path.is_file():
            raise UsageError(f"{path}: no such file; --examples takes pictures")
        limits.check_file(path)
    with listen(arguments.host, arguments.port) as listener, tempfile.TemporaryDirectory(prefix="deeplab-") as folder:
        value_range = tuple(arguments.value_range) if arguments.value_range else None
        names = names_of(arguments.models)
        models = [
            ServedModel(name, load(source, device=arguments.device, value_range=value_range))
            for name, source in zip(names, arguments.models, strict=True)
        ]
        os.environ["GRADIO_TEMP_DIR"] = folder
        from deeplab_lightning.serving.page import Page, application, serve

        is_local = arguments.host in LOOPBACK
        page = Page(models, limits, Path(folder), arguments.examples)
        server = application(page, LOOPBACK if is_local else ())
        if not is_local:
            print(WARNING.format(arguments.host), file=sys.stderr)
        print(f"http://{address(listener)}/ shows {', '.join(names)}; Ctrl-C ends it", flush=True)
        signal.signal(signal.SIGTERM, _end)  # so that the folder is removed
        serve(server, listener)
    return 0


def parse(command: str, options: list[str]) -> Namespace:
    """Parse the options."""
    parser = Parser(prog=f"deeplab {command}", description="Segment pictures on a page in the browser.", epilog=EPILOG)
    add, limits = parser.add_argument, Limits()
    add("models", nargs="+", metavar="MODEL", help="checkpoints, or names of `deeplab weights list`; side by side")
    add("--examples", type=Path, nargs="+", default=[], metavar="FILE", help="pictures that get a button on the page")
    add("--port", type=port, default=7860, help="port; 0 for any that is free; default: 7860")
    add("--host", default=LOOPBACK[0], help="address to listen on; default: 127.0.0.1, which only this machine reaches")
    add("--device", default="auto", help="cpu, cuda or cuda:N; default: the GPU if there is one")
    add("--value_range", type=float, nargs=2, metavar=("LOW", "HIGH"), help=VALUE_RANGE_HELP)
    add("--megabytes", type=float, default=limits.megabytes, help="largest file in MB; default: 20")
    add(
        "--megapixels",
        type=float,
        default=limits.megapixels,
        help="largest picture, in millions of pixels; default: 50",
    )
    add("--seconds", type=float, default=limits.seconds, help="longest time of a request; default: 120")
    add("--waiting", type=int, default=limits.waiting, help="requests that may wait; default: 8")
    return parser.parse_args(options)


def limits_of(arguments: Namespace) -> Limits:
    """Return the limits in the options.

    Raises:
        UsageError: A limit is not above 0.
    """
    try:
        return Limits(arguments.megabytes, arguments.megapixels, arguments.seconds, arguments.waiting)
    except ValueError as error:
        raise UsageError(str(error)) from error


def port(text: str) -> int:
    """Parse the number of a port."""
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise ValueError(f"{text} is no port")
    return number


def names_of(sources: list[str]) -> list[str]:
    """Name the models on the page: files by their last two parts, and equal names by a number."""
    short = ["/".join(Path(source).parts[-2:]) if Path(source).is_file() else source for source in sources]
    return [name if short.count(name) == 1 else f"{name} ({index})" for index, name in enumerate(short, 1)]


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket.

    Raises:
        UsageError: The address is not of this machine, or another program listens there.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another --port or --host"
        ) from error


def address(listener: socket.socket) -> str:
    """Return the address of a socket as it stands in a URL."""
    host, number = listener.getsockname()[:2]
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise Ended(number)
