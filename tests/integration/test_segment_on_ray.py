"""`deeplab segment --engine ray` on one machine and on two nodes, interrupted and killed: the files of the threads."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.patience import PATIENCE, wait_until
from tests.segmentation.models import describe_small, write_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="ray is missing")]

IMAGES = 60
OPTIONS = ["--overlays", "--probabilities", "--csv", "--tile", "256", "--batch_size", "2"]
NODES = """
import sys
from ray.cluster_utils import Cluster

node = {"num_cpus": 1, "object_store_memory": 200 << 20}
cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
second = cluster.add_node(**node)
print(cluster.address, flush=True)
if sys.stdin.readline() == "kill\\n":
    cluster.remove_node(second, allow_graceful=False)
    print("killed", flush=True)
    sys.stdin.readline()
cluster.shutdown()
"""


@pytest.fixture(scope="module", autouse=True)
def two_processors() -> Iterator[None]:
    """Two processors, so that networks have one thread each: the last bits of scores depend on their number."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(own)[:2])
    yield
    os.sched_setaffinity(0, own)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, images, and the results of the threads."""
    folder = tmp_path_factory.mktemp("work")
    write_checkpoint(folder / "model.ckpt", describe_small())
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = folder / "in" / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (180, 240 + number % 2, 3), np.uint8)).save(path)
    Image.fromarray(rng.integers(0, 256, (150, 300, 3), np.uint8)).save(folder / "in" / "by_tiles.png")
    tifffile.imwrite(folder / "in" / "pages.tif", rng.integers(0, 256, (2, 40, 50, 3), np.uint8))
    (folder / "in" / "broken.png").write_bytes(b"no image")
    shutil.copytree(folder / "in", folder / "good", ignore=shutil.ignore_patterns("broken.png"))
    assert run(folder, "in", "threads", "--engine", "threads").wait(PATIENCE) == 1
    assert run(folder, "good", "of_good", "--engine", "threads").wait(PATIENCE) == 0
    return folder


def run(folder: Path, images: str, out: str, *options: str, **environment: str) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "deeplab_lightning", "segment", "model.ckpt", images, "--out", out]
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [*program, *OPTIONS, "--device", "cpu", *options]
    with (folder / "errors.txt").open("w") as errors:
        return subprocess.Popen(command, cwd=folder, env=inherited | environment, stderr=errors, text=True)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".jsonl", ".lock"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def recorded(folder: Path) -> int:
    manifest = folder / "manifest.jsonl"
    return len(manifest.read_text().splitlines()) if manifest.exists() else 0


def actors() -> dict[int, int]:
    """The processes that hold a network, and the node of each, by the id of its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if b"ray::MapWorker(Map(Network" in stat.with_name("cmdline").read_bytes():
                found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    return found


def errors(folder: Path) -> str:
    return (folder / "errors.txt").read_text()


def test_one_machine_interrupted_and_started_again(work: Path) -> None:
    out = work / "once"
    process = run(work, "in", "once", "--engine", "ray")
    wait_until(lambda: recorded(out) > 4 or process.poll() is not None, lambda: errors(work))
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    for path in out.rglob("*.*"):
        assert not path.name.endswith(".draft")
        if path.suffix == ".png":
            Image.open(path).load()
    before = recorded(out)
    assert before > 4
    again = run(work, "in", "once", "--engine", "ray")
    assert again.wait(PATIENCE) == 1
    assert "broken.png" in errors(work)
    assert contents(out) == contents(work / "threads")
    assert recorded(out) == IMAGES + 2


@pytest.fixture
def nodes() -> Iterator[subprocess.Popen[str]]:
    """A program that holds a cluster of two nodes, and kills the second if it is told to."""
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "FSSPEC_LOCAL_AUTO_MKDIR": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", NODES], env=environment, stdin=pipe, stdout=pipe, text=True)
    yield process
    process.communicate("end\n", PATIENCE)


def printed(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_nodes_and_an_actor_killed(work: Path, nodes: subprocess.Popen[str]) -> None:
    address = printed(nodes)
    assert address
    process = run(work, "good", "twice", "--engine", "ray", RAY_ADDRESS=address)
    wait_until(lambda: recorded(work / "twice") > 0 or process.poll() is not None, lambda: errors(work))
    seen = actors()
    assert len(seen) == len(set(seen.values())) == 2
    os.kill(min(seen), signal.SIGKILL)
    assert process.wait(PATIENCE) == 0, errors(work)
    assert contents(work / "twice") == contents(work / "of_good")


def test_addresses_and_a_node_lost(work: Path, nodes: subprocess.Popen[str]) -> None:
    """The addresses lead to this disk, but the pipeline does not know it."""
    address = printed(nodes)
    paths = f"local://{work}/good", f"local://{work}/thrice"
    process = run(work, *paths, "--engine", "ray", RAY_ADDRESS=address, FSSPEC_LOCAL_AUTO_MKDIR="1")
    made = (work / "thrice" / "masks").rglob
    wait_until(lambda: any(made("*.png")) or process.poll() is not None, lambda: errors(work))
    assert process.poll() is None, errors(work)
    assert nodes.stdin is not None
    nodes.stdin.write("kill\n")
    nodes.stdin.flush()
    assert printed(nodes) == "killed"
    assert process.wait(PATIENCE) == 0, errors(work)
    assert contents(work / "thrice") == contents(work / "of_good")
    assert recorded(work / "thrice") == IMAGES + 2
