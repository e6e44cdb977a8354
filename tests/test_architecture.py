"""Imports point one way, and the command starts without heavy ones."""

import ast
import subprocess
import sys
from pathlib import Path

import deeplab_lightning

PACKAGE = Path(deeplab_lightning.__file__).parent
LEVELS = {
    -1: {"atomic", "folder_lock", "run_folder", "usage"},
    0: {
        "models",
        "datasets",
        "crf",
        "losses",
        "metrics",
        "schedules",
        "inference",
        "identity",
        "scores",
        "checkpoint_file",
    },
    1: {"published", "modules", "datamodules", "callbacks", "loggers"},
    2: {"__main__", "cli", "settings", "commands", "ablation"},
}
LEVEL = {room: level for level, rooms in LEVELS.items() for room in rooms}
SIDEWAYS: dict[str, set[str]] = {
    "__main__": {"cli", "commands"},
    "cli": {"settings"},
    "commands": {"ablation", "cli", "settings"},
    "ablation": {"cli"},
}
MAY_USE = {
    "published": {"models"},
    "modules": {"models", "crf", "losses", "metrics", "schedules", "inference", "identity", "checkpoint_file"},
    "datamodules": {"datasets"},
    "callbacks": {"crf", "metrics", "datasets", "identity", "scores", "checkpoint_file", "modules"},
    "loggers": set(),
}
STANDS_ON_LEVEL_0 = {"published"}  # and knows no Lightning either, so that it starts quickly
FORBIDDEN_IN_LEVEL_0 = {"lightning", "pytorch_lightning", "wandb"}
LAZY = {"wandb", "pydensecrf", "matplotlib", "segmentation_models_pytorch", "timm", "torchvision", "onnx", "gradio"}
LAZY |= {"scipy", "pycocotools", "submitit"}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module))
            found |= {f"{node.module}.{alias.name}" for alias in node.names if alias.name in LEVEL}
    return found


def sources() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room != "__init__":
            found.append((room, path))
    assert len(found) > 30
    return found


def test_every_room_has_a_level() -> None:
    assert {room for room, _ in sources()} == set(LEVEL)


def test_imports_point_down() -> None:
    edges = 0
    for room, path in sources():
        for name in imports(path):
            head, _, rest = name.partition(".")
            if head != "deeplab_lightning" or not rest:
                continue
            target = rest.split(".")[0]
            if target == room or LEVEL[target] < 0 <= LEVEL[room]:
                continue
            edges += 1
            if LEVEL[room] == 2:
                assert LEVEL[target] < 2 or target in SIDEWAYS.get(room, set()), f"{path} imports {name}"
            elif LEVEL[room] == 1:
                assert target in MAY_USE[room], f"{path} imports {name}"
            else:
                raise AssertionError(f"{path} imports {name}: rooms of level 0 stand alone")
    assert edges > 20


def test_networks_and_data_do_not_know_lightning() -> None:
    for room, path in sources():
        if LEVEL[room] == 0 or room in STANDS_ON_LEVEL_0:
            assert not {name.split(".")[0] for name in imports(path)} & FORBIDDEN_IN_LEVEL_0, path


def test_heavy_and_optional_packages_are_imported_where_used() -> None:
    for _, path in sources():
        if path.name in ("page.py", "charts.py"):  # themselves imported only where a page is written
            continue
        assert not {name.split(".")[0] for name in imports(path, top_level_only=True)} & LAZY, path


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from deeplab_lightning.__main__ import main; status = main(['--help']); "
        "heavy = {'torch', 'lightning', 'numpy', 'jsonargparse', 'rich'} & set(sys.modules); "
        "sys.exit(status or len(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fit " in done.stdout
    assert "report " in done.stdout


def test_files_stay_small() -> None:
    for _, path in sources():
        assert len(path.read_text().splitlines()) <= 300, f"{path} has outgrown its room"
