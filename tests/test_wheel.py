"""The wheel holds the whole package with its experiments, and works alone: with its base dependencies, anywhere.

docs/first_run.md is tried here as well, as a new user would.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

from deeplab_lightning.extras import EXTRAS
from tests.browser import chromium, has_chromium, watched

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
NOT_PACKED = {".md", ".png", ".py", ".sbatch"}
"""The kinds of files of experiments/ that only the repository has."""
TINY = (
    "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.limit_val_batches 2 --trainer.accelerator cpu "
    "--data.batch_size 2 --data.num_workers 0"
)
COMMANDS = (
    "fit -c experiments/base.yaml -c experiments/data/shapes.yaml -c experiments/model/deeplab_v3plus.yaml "
    f"-c experiments/scale/smoke.yaml --data.crop_size [64,64] {TINY} --trainer.default_root_dir runs/demo",
    "validate -c runs/demo/logs/fit_0/config.yaml --model.scales [0.75,1.0] --model.flip true --ckpt_path "
    "runs/demo/best.ckpt",
    "validate -c runs/demo/logs/fit_0/config.yaml -c experiments/crf/shapes.yaml --ckpt_path runs/demo/best.ckpt",
    "report runs/demo",
    "describe --all",
    "data check -c experiments/data/shapes.yaml",
    "ablate experiments/ablations/deeplab_v3_table3.yaml --dry-run",
)
"""The demo of the Makefile at a tiny size, and the other commands that read experiments/."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources, without network and without leaving files beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "sources").mkdir()
    for name in ("deeplab_lightning", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "sources" / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "sources")
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=folder / "sources",
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "would be ignored" not in built.stderr  # the warning for folders of data that look like packages
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_file_of_the_package_and_every_experiment(wheel: Path) -> None:
    with ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if ".dist-info/" not in name}
    package = ROOT / "deeplab_lightning"
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and package / "experiments" not in path.parents
    }
    experiments = {path.relative_to(ROOT) for path in (ROOT / "experiments").rglob("*") if path.is_file()}
    kinds = {path.suffix for path in experiments if "__pycache__" not in path.parts}
    assert kinds == {".yaml", *NOT_PACKED}
    expected |= {f"deeplab_lightning/{path.as_posix()}" for path in experiments if path.suffix == ".yaml"}
    assert len(expected) > 150
    assert packed == expected


def needed_distributions(requirements: list[str], extras: Sequence[str] = ()) -> set[str]:
    """The names of the installed distributions that requirements and some extras need, and those that these need."""
    found: set[str] = set()
    optional = re.compile(r"extra == .(\w+)")
    names = [re.match(r"[\w.-]+", each) for each in requirements if set(optional.findall(each)) <= set(extras)]
    waiting = [match[0] for match in names if match]
    waiting += ["typeshed-client"]  # of jsonargparse[signatures], the one requirement that names an extra
    waiting += ["docstring-parser"]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            required = distribution(name).requires or []
        except PackageNotFoundError:  # for other systems or versions of Python
            continue
        found.add(name)
        waiting += [match[0] for each in required if "extra ==" not in each and (match := re.match(r"[\w.-]+", each))]
    return found


def install(wheel: Path, folder: Path, extras: Sequence[str] = ()) -> Path:
    """Install the wheel into a new environment with its dependencies, which are links to those of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    with ZipFile(wheel) as file:
        metadata = next(name for name in file.namelist() if name.endswith("METADATA"))
        requirements = re.findall(r"^Requires-Dist: (.*)$", file.read(metadata).decode(), re.MULTILINE)
    for name in needed_distributions(requirements, extras):
        files = distribution(name)
        for top in {path.parts[0] for path in files.files or () if path.parts[0] not in ("..", "__pycache__")}:
            source = Path(str(files.locate_file(top)))
            if source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-index", "--no-deps", str(wheel)], check=True)
    return folder / "bin"


def without_compiler(programs: Path, home: Path) -> dict[str, str]:
    """The variables of a process that finds the installed programs alone, and no compiler."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("OMP", "TMP"))}
    return kept | {"PATH": str(programs), "HOME": str(home), "CC": "false", "CXX": "false"}


@pytest.mark.slow
def test_the_wheel_alone_runs_the_demo_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """It proves that the base dependencies suffice, that no command needs the repository, and none a compiler.

    It does not prove that an index has these dependencies: it takes them from the environment of the tests.
    """
    programs = install(wheel, tmp_path / "environment")
    here = tmp_path / "empty"
    here.mkdir()
    environment = without_compiler(programs, tmp_path)

    def run(*words: str | Path) -> str:
        done = subprocess.run(list(words), cwd=here, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    absent = f"from importlib.util import find_spec; print([n for n in {sorted(EXTRAS.values())} if find_spec(n)])"
    assert run(programs / "python", "-c", absent).strip() == "[]"
    said = {command: run(programs / "deeplab", *command.split()) for command in COMMANDS}
    assert said[COMMANDS[0]].count("deeplab_lightning[wandb]") == 1
    assert all("miou_crf" in text for command, text in said.items() if "crf/shapes" in command)
    assert (here / "runs" / "demo" / "report.html").is_file()
    assert "deeplab_v1_largefov" in said["describe --all"]
    assert "mg111_block4" in said[COMMANDS[-1]]


def served(command: Sequence[str], here: Path, environment: Mapping[str, str]) -> str:
    """Start a server, open the page that it names, end it as Ctrl-C does, and return what it printed."""
    with subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        with urllib.request.urlopen(line.split()[0]) as page:
            assert page.status == 200
        server.send_signal(signal.SIGINT)
        return line + server.stdout.read()


@pytest.mark.slow
def test_the_first_run_in_an_empty_folder_prints_what_the_page_says(wheel: Path, tmp_path: Path) -> None:
    """Numbers may differ, and lines of dots stand for any lines. Installing is the helper's work, not the page's."""
    programs = install(wheel, tmp_path / "environment", ["export", "serve"])
    here = tmp_path / "empty"
    here.mkdir()
    environment = without_compiler(programs, tmp_path)
    page = (ROOT / "docs" / "first_run.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page.partition("## Twenty pictures")[2], re.MULTILINE | re.DOTALL)
    printed, compared = "", 0
    for kind, text in blocks:
        if kind == "python":
            (here / "draw.py").write_text(text)
        elif kind == "console":
            printed = ""
            for command in map(shlex.split, text.splitlines()):
                if command[:2] == ["deeplab", "serve"]:
                    printed += served([*command, "--port", "0"], here, environment)
                    continue
                done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
                printed += done.stdout + done.stderr
        else:
            lines = [line.removesuffix("...").rstrip("\\ ") for line in text.splitlines()]
            for line in filter(None, lines):
                pattern = re.sub(r"\d+(\\\.\d+)?", r"[\\d.]+", re.escape(line))
                assert re.search(pattern, printed), f"{line}\n{printed}"
                compared += 1
    assert compared > 15
    for name in ("out/masks/00.png", "out/areas.csv", "out_of_onnx/masks/00.png", "my_model.html"):
        assert (here / name).is_file(), name
    if has_chromium():
        with chromium() as browser, watched(browser, (here / "my_model.html").as_uri()) as opened:
            opened.locator(".thumb").first.click()
            opened.locator("#result[data-state=result]").wait_for()
