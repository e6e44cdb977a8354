"""Writing a model as a program of torch.export, which runs without this package."""

import copy
from pathlib import Path

import torch
from torch.export import Dim

from deeplab_lightning.atomic import replacing
from deeplab_lightning.export.check import Agreement, ExportError, compare, demand
from deeplab_lightning.export.graph import ExportedNetwork
from deeplab_lightning.segmentation.graph_file import GraphFile, Interface
from deeplab_lightning.segmentation.segmenter import Segmenter


def write_exported_program(segmenter: Segmenter, path: Path, interface: Interface | None = None) -> Agreement:
    """Write a model as a program of torch.export, for images of any batch, height and width of 33 or more.

    The file holds its `GraphFile` as texts, by name in `extra_files`. It is compared with the network, and takes its
    place only if they agree.

    Args:
        segmenter: The model, on the CPU.
        path: The file.
        interface: Inputs and outputs; normalised images and logits if not given.

    Returns:
        The agreement of the file with the network.

    Raises:
        ExportError: The program differs from the network.
        OSError: The file cannot be written.
        ValueError: The model has a CRF as layers.
    """
    network = ExportedNetwork(segmenter, interface or Interface()).eval()
    facts = GraphFile.of(segmenter.network, segmenter.description, network.interface)
    dimensions = dict.fromkeys(network.open_dimensions(), Dim.DYNAMIC)
    with replacing(path) as draft:
        draft.touch()  # a path that cannot be written fails now, and not after the export
        with torch.no_grad():
            contiguous = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
            program = torch.export.export(contiguous, (network.example(),), dynamic_shapes=(dimensions,))
        with draft.open("wb") as file:
            torch.export.save(program, file, extra_files=facts.as_texts())
        with draft.open("rb") as file:
            loaded = torch.export.load(file).module()
        try:
            return demand(compare(network, lambda images: loaded(images)[0]))
        except (AssertionError, RuntimeError) as error:  # torch's guards raise the former
            raise ExportError(f"the program does not take images of every size, so it is not kept: {error}") from error
