"""Write a checkpoint with TensorFlow itself for each network of the release, or import those that were written.

    python experiments/benchmarks/tensorflow_bundles.py write VARIABLES FOLDER [--small]
    python experiments/benchmarks/tensorflow_bundles.py import FOLDER

`write` needs TensorFlow, `import` needs deeplab_lightning. VARIABLES is a JSON file, gzipped: for each network, the
names and shapes of its variables. The numbers are random. With --small every side of a shape is at most 2, which suits
tests of the reader. For each checkpoint, `import` prints the network that it gives, the number of tensors used and not
used, and the range of the logits on a random image.
"""

import argparse
import gzip
import json
from pathlib import Path

import numpy as np


def write(variables: Path, folder: Path, small: bool) -> None:
    """Write all checkpoints, each with a step and one momentum beside the variables."""
    from importlib import import_module

    tf = import_module("tensorflow.compat.v1")
    tf.disable_eager_execution()
    with gzip.open(variables) as file:
        networks = json.load(file)
    for network, shapes in networks.items():
        rng, arrays = np.random.default_rng(0), {}
        for name, shape in dict(shapes).items():
            own = [min(side, 2) for side in shape] if small else shape
            spread = 1.0 if len(own) < 2 else float(np.prod(own[:3])) ** -0.5
            values = rng.standard_normal(own, np.float32) * spread
            arrays[name] = np.abs(values) + 0.5 if name.endswith(("gamma", "moving_variance")) else values
        first = next(iter(arrays))
        arrays[f"{first}/Momentum"] = np.zeros_like(arrays[first])
        tf.reset_default_graph()
        made = {name: tf.get_variable(name, array.shape, tf.float32) for name, array in arrays.items()}
        step = tf.get_variable("global_step", (), tf.int64)
        (folder / network).mkdir(parents=True, exist_ok=True)
        with tf.Session() as session:
            feeds = {made[name].initializer.inputs[1]: array for name, array in arrays.items()}
            session.run([*(each.initializer for each in made.values()), step.initializer], feeds)
            tf.train.Saver().save(session, str(folder / network / "model.ckpt"), write_meta_graph=False)
        print(f"{network}: {len(arrays)} variables and a step", flush=True)


def import_all(folder: Path) -> None:
    """Import all checkpoints and run their networks."""
    import torch

    from deeplab_lightning.published.importing import Imported
    from deeplab_lightning.published.reading import read_weights

    images = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 65, 65), np.float32))
    for index in sorted(folder.glob("*/*.index")):
        _, imported = read_weights(index)
        assert isinstance(imported, Imported)
        with torch.no_grad():
            logits = imported.network(images)
        assert logits.isfinite().all()
        kind, backbone = type(imported.network).__name__, imported.arguments["backbone"]
        print(
            f"{index.parent.name}: {kind} on {backbone}, {len(imported.used)} used, {len(imported.ignored)} left out, "
            f"logits {list(logits.shape)} from {logits.min():.3g} to {logits.max():.3g}",
            flush=True,
        )


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write")
    writing.add_argument("variables", type=Path)
    writing.add_argument("folder", type=Path)
    writing.add_argument("--small", action="store_true")
    commands.add_parser("import").add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.command == "write":
        write(given.variables, given.folder, given.small)
    else:
        import_all(given.folder)


if __name__ == "__main__":
    main()
