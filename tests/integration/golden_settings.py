"""The resolved settings of every file of experiments/model: python -m tests.integration.golden_settings writes them.

Settings that all files share are stored under "all files", so that a change of one of them is one line.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import yaml

from deeplab_lightning.__main__ import main

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
GOLDEN = Path(__file__).with_suffix(".yaml")
SHARED = "all files"


def printed(model: Path) -> dict[str, Any]:
    """The settings that `fit --print_config` prints for a file of experiments/model on VOC, with dotted names."""
    files = [EXPERIMENTS / "base.yaml", EXPERIMENTS / "data" / "voc2012_aug.yaml", model]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main(["fit", *(option for file in files for option in ("-c", str(file))), "--print_config"])
    return dotted(yaml.safe_load(out.getvalue()))


def dotted(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as flat ones with dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        is_nested = isinstance(value, dict) and value
        found |= dotted(value, f"{prefix}{key}.") if is_nested else {f"{prefix}{key}": value}
    return found


def all_printed() -> dict[str, dict[str, Any]]:
    """The resolved settings of each file, by its name."""
    return {model.stem: printed(model) for model in sorted((EXPERIMENTS / "model").glob("*.yaml"))}


def golden() -> dict[str, dict[str, Any]]:
    """The stored settings of each file, by its name."""
    kept = yaml.safe_load(GOLDEN.read_text())
    shared = kept.pop(SHARED)
    return {name: shared | own for name, own in kept.items()}


def write() -> None:
    """Store the settings that are resolved now."""
    every = all_printed()
    first, *others = every.values()
    shared = {key: value for key, value in first.items() if all(key in each and each[key] == value for each in others)}
    own = {name: {key: value for key, value in each.items() if key not in shared} for name, each in every.items()}
    GOLDEN.write_text(yaml.safe_dump({SHARED: shared, **own}, sort_keys=False, width=1000, default_flow_style=None))


if __name__ == "__main__":
    write()
