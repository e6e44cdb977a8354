"""Writing a model as one HTML file that segments pictures in the reader's own browser, and refines them by the CRF."""

import gzip
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from deeplab_lightning import __version__
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.published import SETTINGS, crf_named
from deeplab_lightning.crf.settings import CRFSettings
from deeplab_lightning.crf.sliders import PRESET, SLIDERS
from deeplab_lightning.datasets.images import format_of
from deeplab_lightning.description import ModelDescription
from deeplab_lightning.drawing import percent
from deeplab_lightning.export.web.runtime import read_runtime
from deeplab_lightning.identity import describe_identity
from deeplab_lightning.palette import BACKGROUND
from deeplab_lightning.segmentation.graph_file import GraphFile, Interface
from deeplab_lightning.segmentation.onnx_network import Session
from deeplab_lightning.segmentation.pictures import EIGHT_BIT, PixelReader, affine

HERE = Path(__file__).parent
TEMPLATES = Environment(loader=PackageLoader("deeplab_lightning.export.web", "."), autoescape=True, trim_blocks=True)
POLICY = (
    "default-src 'none'; script-src {scripts} 'wasm-unsafe-eval' blob:; worker-src blob:; style-src {style}; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""The content security policy: the scripts of the file alone run, and no request leaves the page, not even to data."""
SCRIPTS = {
    "dense_crf": HERE.parent / "dense_crf.js",
    "segmentation": HERE / "segmentation.js",
    "worker": HERE / "worker.js",
    "page": HERE / "page.js",
}
"""The scripts inline; that of the worker follows the first two in a file of its own, which the page makes."""
PRECISIONS = {"float32": "32-bit weights", "half": "16-bit weights", "int8": "8-bit weights and features"}
BROWSER_FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
LARGEST_EXAMPLE = 400_000
"""Number of bytes up to which an example stays as it is."""
LONGEST_EXAMPLE = 1024
"""Longest side in pixels of an example that is written anew."""


@dataclass(frozen=True)
class Example:
    """A picture in the page.

    Args:
        name: Name of its file.
        address: Its content, as a data address.
    """

    name: str
    address: str


@dataclass(frozen=True)
class PageSize:
    """The size of a page in bytes, with that of its two large parts.

    Args:
        page: Size of the file.
        model: Size of the model in it.
        runtime: Size of onnxruntime-web in it.
    """

    page: int
    model: int
    runtime: int

    def __str__(self) -> str:
        return (
            f"{self.page / 1e6:.1f} MB: {self.model / 1e6:.1f} the model, {self.runtime / 1e6:.1f} onnxruntime-web "
            f"{read_runtime().version}"
        )


def check_model(description: ModelDescription) -> None:
    """Refuse a model that no page can run.

    Raises:
        ValueError: It does not take colour pictures of 8 bits, or its own CRF cannot be used.
    """
    normalization = description.normalization
    _found(description)
    if normalization.num_channels != 3 or normalization.value_range != EIGHT_BIT:
        low, high = normalization.value_range
        raise ValueError(
            "a page takes colour pictures of 8 bits, as browsers read them, but the model takes pictures with "
            f"in_channels {normalization.num_channels} and values of {low:g} to {high:g}; write it with --format onnx"
        )


def write_page(graph: Path, path: Path, examples: Sequence[Example] = ()) -> PageSize:
    """Write the page of an ONNX file.

    Args:
        graph: File of `write_onnx` or `write_reduced` with the default inputs and outputs.
        path: The page.
        examples: Pictures in the page, which readers choose by a click.

    Returns:
        The size of the page.

    Raises:
        OSError: The graph cannot be read, or the page cannot be written.
        ValueError: The graph has other inputs or outputs, or no page can run its model.
    """
    facts = GraphFile.of_texts(Session(graph).texts)
    if facts.interface != Interface():
        raise ValueError(f"{graph}: a page needs a graph from normalised images to logits")
    check_model(facts.description)
    runtime = read_runtime()
    parts = {
        "runtime": _text(runtime.script),
        "wasm": _text(runtime.wasm),
        "graph": _text(gzip.compress(graph.read_bytes(), 6, mtime=0)),
    }
    size = PageSize(0, len(parts["graph"]), len(parts["runtime"]) + len(parts["wasm"]))
    for _ in range(2):  # the second time with the size that the first one has
        page = _render(facts, parts, examples, size).encode()
        size = PageSize(len(page), size.model, size.runtime)
    write_atomically(path, page)
    return size


def read_example(path: Path, reader: PixelReader) -> Example:
    """Read an example. JPEG, PNG and WebP files of at most `LARGEST_EXAMPLE` bytes stay as they are.

    One that browsers do not read, or that is larger, becomes a JPEG of a reduced size.

    Args:
        path: File of the picture.
        reader: Reader of the model's pictures.

    Raises:
        DataError: It cannot be read.
    """
    pixels = reader.read(path).pixels
    content = path.read_bytes()
    kind = BROWSER_FORMATS.get(format_of(path) or "")
    if kind is None or len(content) > LARGEST_EXAMPLE:
        picture, file = Image.fromarray(pixels), BytesIO()
        picture.thumbnail((LONGEST_EXAMPLE, LONGEST_EXAMPLE), Image.Resampling.LANCZOS)
        picture.save(file, "JPEG", quality=90)
        kind, content = "image/jpeg", file.getvalue()
    return Example(path.name, f"data:{kind};base64,{_text(content)}")


def _render(facts: GraphFile, parts: Mapping[str, str], examples: Sequence[Example], size: PageSize) -> str:
    description, score = facts.description, facts.description.score
    scripts = {name: f"\n{path.read_text()}" for name, path in SCRIPTS.items()}
    style = (HERE / "page.css").read_text()
    hashes = " ".join(_hash(text) for name, text in scripts.items() if name != "worker")
    return TEMPLATES.get_template("page.html.jinja").render(
        policy=POLICY.format(scripts=hashes, style=_hash(style)),
        scripts={name: Markup(text) for name, text in scripts.items()},
        style=Markup(style),
        parts=parts,
        examples=examples,
        facts=page_facts(description),
        sliders=SLIDERS,
        network=description.network,
        backbone=description.arguments.get("backbone"),
        classes=list(zip(description.class_names, description.palette.colors, strict=True)),
        score=None if score is None else (str(score.name), percent(score.value), describe_identity(score.identity)),
        remarks=description.assumed,
        precision=PRECISIONS[facts.precision],
        size=size,
        runtime=read_runtime(),
        version=__version__,
    )


def page_facts(description: ModelDescription) -> dict[str, Any]:
    """Return what the scripts of the page need to know, as plain values."""
    names = description.class_names
    factor, offset = affine(description.normalization, EIGHT_BIT)
    found = _found(description)
    presets = {name: _plain(crf) for name, crf in (found | SETTINGS).items()}
    return {
        "model": {
            "classNames": names,
            "factor": factor.tolist(),
            "offset": offset.tolist(),
            "isReversed": description.normalization.channel_order == "reversed",
            "padTo": description.pad_to,
        },
        "colors": description.palette.table().tolist(),
        "clear": names.index(BACKGROUND) if BACKGROUND in names else None,
        "presets": presets,
        "preset": next(iter(found), PRESET),
    }


def _found(description: ModelDescription) -> dict[str, DenseCRF]:
    """The CRF that was searched for the model, by its name on the page, if there is one."""
    return {} if description.crf is None else {"found for this model": crf_named("checkpoint", description.crf)}


def _plain(crf: DenseCRF) -> dict[str, Any]:
    """The settings that dense_crf.js knows."""
    known = {*CRFSettings.__dataclass_fields__, "min_probability"}
    return {name: value for name, value in asdict(crf).items() if name in known}


def _text(content: bytes) -> str:
    return b64encode(content).decode()


def _hash(text: str) -> str:
    return f"'sha256-{_text(sha256(text.encode()).digest())}'"
