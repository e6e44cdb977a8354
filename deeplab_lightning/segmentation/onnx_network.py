"""ONNX graphs of `deeplab export` as networks, run by onnxruntime on the CPU."""

import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_lightning.models.layers import SegmentationNetwork, upsample
from deeplab_lightning.segmentation.graph_file import COARSE, GraphFile, Interface
from deeplab_lightning.segmentation.model_file import Model
from deeplab_lightning.segmentation.onnx_runtime import import_onnxruntime

FATAL = 4  # onnxruntime's severity below which its log is silent; errors come as exceptions as well


class Session:
    """An ONNX graph that several threads can run at once, each with as many threads as torch would use there.

    Args:
        path: The file.

    Attributes:
        texts: Texts beside the graph, by name.
        inputs: Type and shape of each input, by name; an open dimension has a name in place of a number.
        outputs: The same of each output.

    Raises:
        ValueError: The file is damaged, or no ONNX graph.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._content = path, b""
        self._sessions: dict[int, Any] = {}
        self._lock = threading.Lock()
        first = self._session()
        self.texts: dict[str, str] = dict(first.get_modelmeta().custom_metadata_map)
        self.inputs, self.outputs = (
            {each.name: (each.type.removeprefix("tensor(").removesuffix(")"), list(each.shape)) for each in values}
            for values in (first.get_inputs(), first.get_outputs())
        )

    def run(self, images: NDArray[Any], output: str) -> NDArray[Any]:
        """Return one output for a batch of the first input."""
        found: list[NDArray[Any]] = self._session().run(
            [output], {next(iter(self.inputs)): np.ascontiguousarray(images)}
        )
        return found[0]

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process, which may not have the file, needs to run the graph."""
        kept = {name: value for name, value in vars(self).items() if name not in ("_sessions", "_lock")}
        return kept | {"_content": self._content or self.path.read_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _sessions={}, _lock=threading.Lock())

    def _session(self) -> Any:
        threads = torch.get_num_threads()
        with self._lock:
            if threads not in self._sessions:
                onnxruntime = import_onnxruntime()
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads, options.log_severity_level = threads, FATAL
                try:
                    self._sessions[threads] = onnxruntime.InferenceSession(
                        self._content or str(self.path), options, providers=["CPUExecutionProvider"]
                    )
                except Exception as error:  # onnxruntime's errors have no common class
                    raise ValueError(f"{self.path}: onnxruntime cannot read it ({_first_line(error)})") from error
            return self._sessions[threads]


class ONNXNetwork(SegmentationNetwork):
    """A graph of normalised images and logits in place of a network.

    Args:
        session: The graph.
        facts: What its file says of it.
    """

    def __init__(self, session: Session, facts: GraphFile) -> None:
        super().__init__(len(facts.description.class_names), facts.output_stride, facts.align_corners)
        self.session, self.logits_stride = session, facts.logits_stride
        self._channels = facts.description.normalization.num_channels

    @property
    def in_channels(self) -> int:
        """The number of channels C of an image."""
        return self._channels

    def forward_coarse(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, h, w) on the grid from which they are upsampled."""
        return self._run(images, COARSE if COARSE in self.session.outputs else "logits")

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, *size); the size defaults to the images' own (H, W)."""
        own = (images.shape[-2], images.shape[-1])
        if size is None or tuple(size) == own:
            return self._run(images, "logits")
        return upsample(self.forward_coarse(images), size, self.align_corners)

    def _run(self, images: Tensor, output: str) -> Tensor:
        return torch.from_numpy(self.session.run(images.numpy(), output))


def read_onnx(path: Path) -> Model:
    """Read a model from an ONNX file of `deeplab export`.

    Args:
        path: The file.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
        OSError: The file cannot be opened.
        ValueError: The file is damaged, not of `deeplab export`, or its graph takes or gives something else.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    session = Session(path)
    try:
        facts = GraphFile.of_texts(session.texts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if facts.interface != Interface():
        raise ValueError(
            f"{path}: its graph takes {facts.interface.inputs} and gives {facts.interface.outputs}, for other "
            "programs; to segment with it here, export it without --inputs and --outputs"
        )
    return Model(ONNXNetwork(session, facts).eval(), facts.description, None, digest)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
