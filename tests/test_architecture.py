"""Imports point in one direction, and the command starts without heavy ones."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import deeplab_lightning
from deeplab_lightning.extras import EXTRAS

PACKAGE = Path(deeplab_lightning.__file__).parent
LEVELS = {
    -2: {"exports", "palette"},
    -1: {"atomic", "drawing", "extras", "folder_lock", "identity", "packaged", "processors", "run_folder", "scores"}
    | {"usage"},
    0: {
        "models",
        "datasets",
        "crf",
        "losses",
        "metrics",
        "schedules",
        "inference",
        "checkpoint_file",
        "class_record",
        "description",
    },
    1: {
        "published",
        "segmentation",
        "modules",
        "datamodules",
        "callbacks",
        "loggers",
        "lightning_internals",
        "run_reader",
    },
    2: {"__main__", "cli", "settings", "commands", "ablation", "export", "reports", "crf_search", "serving"},
}
LEVEL = {room: level for level, rooms in LEVELS.items() for room in rooms}
SIDEWAYS: dict[str, set[str]] = {
    "__main__": {"cli", "commands"},
    "cli": {"settings"},
    "commands": {"ablation", "cli", "crf_search", "export", "reports", "serving", "settings"},
    "ablation": {"settings"},
    "reports": {"ablation", "settings"},
}
MAY_USE = {
    "published": {"models", "datasets", "checkpoint_file", "description"},
    "modules": {
        "models",
        "crf",
        "losses",
        "metrics",
        "schedules",
        "inference",
        "checkpoint_file",
        "description",
        "published",
        "datamodules",  # the type of the trainer's datamodule
    },
    "segmentation": {
        "published",
        "models",
        "datasets",
        "crf",
        "inference",
        "checkpoint_file",
        "description",
    },
    "datamodules": {"datasets"},
    "run_reader": {"class_record", "datasets"},
    "callbacks": {
        "crf",
        "metrics",
        "datasets",
        "class_record",
        "checkpoint_file",
        "modules",
        "lightning_internals",
    },
    "loggers": {"lightning_internals"},
    "lightning_internals": set(),
}
STANDS_ON_LEVEL_0 = {"published", "segmentation"}  # they do not import Lightning either, so they start quickly
FORBIDDEN_IN_LEVEL_0 = {"lightning", "pytorch_lightning", "wandb"}
LAZY = {"wandb", "pydensecrf", "matplotlib", "segmentation_models_pytorch", "timm", "torchvision", "onnx", "onnxscript"}
LAZY |= {"scipy", "huggingface_hub", *EXTRAS.values()}
FILES_OF_RUNS = {
    *("best.ckpt", "last.ckpt", "previous.ckpt", ".fit.lock", "config.yaml", "metrics.csv", "run.json"),
    *("evaluation.json", "evaluate.yaml", "done.json", "failed.json", "log.txt", "lock", "trimap.png"),
}
FOLDERS_OF_RUNS = {"logs", "panels", "predictions", "evaluations", "wandb"}
PRIVATE_ONLY_IN = {
    "lightning_internals.py",  # each with its reason
    "callbacks/finite_loss.py",  # torch._foreach_copy_, which copies all weights at once
    "models/profile.py",  # the name of one of torch's operators
    "models/vgg.py",  # the convolution of torch's own layer, with other weights
    "settings/parameters.py",  # the actions of a parser, which have no public name in argparse
    "usage.py",  # likewise
}
"""Files that use private names of libraries."""
TESTED_BY = {
    "__main__.py": "test_mistakes.py",
    "callbacks/log_folder.py": "callbacks/test_log_predictions.py",
    "commands/attribution.py": "commands/test_compare.py",
    "commands/released_scores.py": "commands/test_weights.py",
    "commands/data.py": "integration/test_data_command.py",
    "datasets/ade20k_names.py": "datasets/test_ade20k.py",
    "datasets/coco_instances.py": "datasets/test_coco.py",
    "datasets/coco_names.py": "datasets/test_coco.py",
    "datasets/download.py": "datasets/test_prepare.py",
    "datasets/sources.py": "datasets/test_prepare.py",
    "datasets/submission.py": "ablation/test_submission.py",
    "losses/decimation.py": "models/test_deeplab_v1.py",
    "losses/hard_pixels.py": "losses/test_weighted_sum.py",
    "losses/regions.py": "losses/test_weighted_sum.py",
    "models/aspp.py": "models/test_networks.py",
    "models/batch_norm.py": "modules/test_base.py",
    "models/deeplab_v3.py": "models/test_networks.py",
    "models/deeplab_v3_cascade.py": "models/test_networks.py",
    "models/deeplab_v3plus.py": "models/test_networks.py",
    "models/encoders.py": "models/test_networks.py",
    "models/dense_prediction_cell.py": "models/test_networks.py",
    "models/lraspp.py": "models/test_networks.py",
    "models/smp_network.py": "models/test_networks.py",
    "models/mobilenet_blocks.py": "models/test_mobilenet.py",
    "models/imagenet.py": "models/test_resnet.py",
    "modules/batch_norm_guard.py": "modules/test_base.py",
    "modules/checks.py": "modules/test_base.py",
    "modules/deeplab_v1.py": "modules/test_protocols.py",
    "modules/deeplab_v2.py": "modules/test_protocols.py",
    "modules/deeplab_v3.py": "modules/test_reloading.py",
    "modules/deeplab_v3_cascade.py": "modules/test_reloading.py",
    "modules/describing.py": "integration/test_commands.py",
    "modules/deeplab_v3plus.py": "modules/test_reloading.py",
    "modules/lraspp.py": "modules/test_reloading.py",
    "modules/smp_network.py": "modules/test_reloading.py",
    "modules/evaluation_identity.py": "modules/test_base.py",
    "modules/freezing.py": "modules/test_protocols.py",
    "modules/image_means.py": "modules/test_base.py",
    "modules/optimization.py": "modules/test_base.py",
    "modules/dropout_seeds.py": "callbacks/test_seed_steps.py",
    "modules/outputs.py": "callbacks/test_evaluation.py",
    "modules/start_from.py": "modules/test_protocols.py",
    "published/formats/files.py": "published/formats/test_mutations.py",
    "published/formats/protobuf.py": "published/formats/test_tensorflow.py",
    "published/formats/table.py": "published/formats/test_tensorflow.py",
    "published/catalogue.py": "published/test_converting.py",
    "published/class_names.py": "published/test_converting.py",
    "published/reading.py": "published/test_converting.py",
    "published/importing.py": "published/test_caffe.py",
    "published/kazuto1011.py": "published/test_state_dicts.py",
    "published/smp.py": "published/test_hub_folder.py",
    "published/tensorflow_names.py": "published/test_tensorflow.py",
    "published/torchvision.py": "published/test_state_dicts.py",
    "commands/benchmark.py": "export/test_benchmark.py",
    "segmentation/loading.py": "segmentation/test_segmenter.py",
    "segmentation/pictures.py": "segmentation/test_segmenter.py",
    "segmentation/writers.py": "segmentation/test_result.py",
    "reports/model_card.py": "commands/test_hub.py",
    "settings/classes.py": "settings/test_parameters.py",
    "settings/part.py": "settings/test_known.py",
}
"""Files without a test file of their own, and the test file that covers each."""
SIGNATURES_OF_MANY = {"modules/base.py", "datamodules/base.py"}
"""Files with a signature of more than twelve arguments, each of which is a setting of the command line."""
CALLS_OF_MANY = {"nn.Sequential", "super().__init__", "add_row"}
"""Calls of any number of positional arguments that are all alike."""


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
            if target == room or LEVEL[target] < min(LEVEL[room], 0):
                continue
            edges += 1
            if LEVEL[room] == 2:
                assert LEVEL[target] < 2 or target in SIDEWAYS.get(room, set()), f"{path} imports {name}"
            elif LEVEL[room] == 1:
                assert target in MAY_USE[room], f"{path} imports {name}"
            else:
                raise AssertionError(f"{path} imports {name}: rooms of level 0 stand alone")
    assert edges > 20


def project_imports(tree: ast.AST) -> set[str]:
    """The package's modules that code imports when it runs; imports for type checkers do not count."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        else:
            found |= project_imports(node)
    return found


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The names along a cycle of edges; empty if there is no cycle."""
    through: set[str] = set()

    def walk(path: list[str]) -> list[str]:
        if path[-1] in path[:-1]:
            return path[path.index(path[-1]) :]
        for name in sorted(edges.get(path[-1], set()) - through):
            if found := walk([*path, name]):
                return found
        through.add(path[-1])
        return []

    return next((found for name in sorted(edges) if (found := walk([name]))), [])


def test_no_file_imports_itself_through_others() -> None:
    """Imports inside functions count too."""
    names = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for _, path in sources()}
    edges = {
        name: (project_imports(ast.parse(path.read_text())) & set(names.values())) - {name}
        for path, name in names.items()
    }
    assert sum(map(len, edges.values())) > 100
    assert circle(edges) == []
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]


def test_networks_and_data_do_not_know_lightning() -> None:
    for room, path in sources():
        if LEVEL[room] == 0 or room in STANDS_ON_LEVEL_0:
            assert not {name.split(".")[0] for name in imports(path)} & FORBIDDEN_IN_LEVEL_0, path


def test_heavy_and_optional_packages_are_imported_where_used() -> None:
    for _, path in sources():
        if path.name in ("page.py", "charts.py"):  # these files are imported only to write a page
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


def test_every_file_has_its_tests() -> None:
    tests = Path(__file__).parent
    without = set()
    for _, path in sources():
        name = path.relative_to(PACKAGE)
        if path.name != "__init__.py" and not (tests / name.with_name(f"test_{path.name}")).is_file():
            without.add(name.as_posix())
    assert without == set(TESTED_BY)
    assert not [name for name in TESTED_BY.values() if not (tests / name).is_file()]


def test_functions_stay_small_and_take_few_arguments() -> None:
    with_many = set()
    for _, path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                assert lines <= 50, f"{path}: {node.name} has {lines} lines"
                names = {each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
                if len(names - {"self", "cls"}) > 12:
                    with_many.add(path.relative_to(PACKAGE).as_posix())
            elif isinstance(node, ast.Call) and len(node.args) > 4:
                called = ast.unparse(node.func)
                assert called.endswith(tuple(CALLS_OF_MANY)), f"{path}:{node.lineno}: {called} by position"
    assert with_many == SIGNATURES_OF_MANY


def test_tests_touch_no_private_name_of_the_package() -> None:
    own = {
        f"{PACKAGE.name}.{path.relative_to(PACKAGE).with_suffix('').as_posix().replace('/', '.')}": path
        for _, path in sources()
    }
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text())
        modules: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE.name):
                assert not [alias.name for alias in node.names if private(alias.name)], path
                modules |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr=attribute) if modules.get(str(name), "") in own:
                    assert not private(attribute), f"{path}:{node.lineno}"
                case ast.Call(
                    func=ast.Attribute(attr="setattr"), args=[ast.Name(id=name), ast.Constant(value=str(value)), _]
                ):
                    assert modules.get(str(name), "") not in own or not private(value), f"{path}:{node.lineno}"


def test_files_stay_small() -> None:
    for _, path in sources():
        assert len(path.read_text().splitlines()) <= 300, f"{path} has outgrown its room"


def file_names(tree: ast.AST) -> set[str]:
    """The names of a run folder's files and folders in code; strings with spaces are prose and do not count."""
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    operands = [side for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
                for side in (node.left, node.right)]  # fmt: skip
    words = [str(node.value) for node in constants if not re.search(r"\s", str(node.value))]
    parts = {part for word in words for part in word.split("/")}
    paths = {part for word in words if "*" in word for part in word.split("/")}
    paths |= {str(node.value) for node in operands if isinstance(node, ast.Constant)}
    return (parts & FILES_OF_RUNS) | (paths & FOLDERS_OF_RUNS)


def test_one_file_knows_the_names_in_a_run_folder() -> None:
    known = {path.relative_to(PACKAGE).as_posix() for _, path in sources() if file_names(ast.parse(path.read_text()))}
    assert known == {"run_folder.py"}


def private(name: str | None) -> bool:
    public = ("_exit", "_generate_next_value_")  # documented names of os and of enumerations
    return name is not None and name.startswith("_") and not name.startswith("__") and name not in public


def own_names(tree: ast.AST) -> set[str]:
    """The names that code defines: functions, classes, parameters, variables and attributes of self."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.add(name)
    return found


def test_private_names_of_libraries_are_used_in_one_file_each() -> None:
    trees = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for _, path in sources()}
    own = set().union(*map(own_names, trees.values()))
    users = set()
    for name, tree in trees.items():
        for node in ast.walk(tree):
            attribute = isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own
            imported = (
                isinstance(node, ast.ImportFrom)
                and str(node.module).startswith("lightning")
                and any(private(part) for part in [*str(node.module).split("."), *(alias.name for alias in node.names)])
            )
            users |= {name} if attribute or imported else set()
    assert users == PRIVATE_ONLY_IN


def test_private_methods_of_libraries_are_overridden_in_one_file() -> None:
    overridden = set()
    for _, path in sources():
        name = path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for cls in (each for _, each in inspect.getmembers(import_module(name), inspect.isclass)):
            foreign = {
                key for base in cls.__mro__ if not base.__module__.startswith(PACKAGE.name) for key in vars(base)
            }
            methods = {key for key, value in vars(cls).items() if private(key) and inspect.isfunction(value)}
            if cls.__module__ == name and methods & foreign:
                overridden.add((path.name, *(methods & foreign)))
    assert overridden == {("lightning_internals.py", "_parse_ckpt_path")}


def test_the_help_of_a_command_that_needs_no_torch_imports_none() -> None:
    """Tables and the command line use `settings`, so it imports heavy modules only when it looks up their classes."""
    program = (
        "import sys; import deeplab_lightning.settings.compose, deeplab_lightning.settings.resolve; "
        "sys.exit(len({'torch', 'lightning'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
