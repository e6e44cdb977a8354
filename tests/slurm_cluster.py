"""A SLURM cluster of two nodes on this machine, for tests. It needs root, slurmctld, slurmd and munged."""

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.patience import wait_until

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scancel", "sinfo", "squeue", "scontrol")
NODES = ("n0", "n1")


def missing() -> str:
    """What this machine lacks for a cluster; empty where a cluster can run."""
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"no {', '.join(programs)}"
    return "" if os.geteuid() == 0 else "not root"


class Cluster:
    """A running cluster with one processor core on each node.

    Args:
        folder: Folder for the configuration, the state and the logs.

    Attributes:
        environment: Environment variables for the programs of SLURM and for `deeplab`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", *NODES):
            (folder / name).mkdir(parents=True)
        self.socket = folder / "munge.socket"
        control, *ports = _free_ports(1 + len(NODES))
        host = socket.gethostname().partition(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=4000"
            for node, port in zip(NODES, ports, strict=True)
        )
        self.config = folder / "slurm.conf"
        self.config.write_text(f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={self.socket}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=30
{nodes}
PartitionName=debug Nodes={",".join(NODES)} Default=YES MaxTime=INFINITE State=UP
""")
        # The nodes' names are no host names here, where a training over both nodes would look for its first process.
        address = {"MASTER_ADDR": "127.0.0.1"}
        self.environment = os.environ | {"SLURM_CONF": str(self.config), "OMP_NUM_THREADS": "1"} | address
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Cluster":
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("pid", "log", "seed")]
        self._start("munged", "--foreground", "--force", f"--socket={self.socket}", f"--key-file={key}", *files)
        wait_until(self.socket.exists)
        self._start("slurmctld", "-D", "-f", str(self.config))
        for node in NODES:
            self.start_node(node)
        wait_until(lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", self.logs)
        return self

    def __exit__(self, *_: object) -> None:
        self.run("scancel", "--user=root", "--quiet")
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            daemon.wait()

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._start(node, "-D", "-f", str(self.config), "-N", node, program="slurmd")

    def kill_node(self, node: str) -> None:
        """Kill the daemon of a node, and all processes of the jobs on it, like a power failure."""
        self.daemons[node].kill()
        self.daemons[node].wait()
        own = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={self.config}".encode()}
        jobs = [path for path in Path("/proc").glob("[0-9]*") if own <= set(_read(path / "environ").split(b"\0"))]
        managers = {Path("/proc", parent) for path in jobs if (parent := _parent(path)) and _is_manager(parent)}
        for path in [*managers, *jobs]:  # first the managers, which would report the end of the others
            with suppress(ProcessLookupError):
                os.kill(int(path.name), signal.SIGKILL)

    def run(self, *command: str, check: bool = False, cwd: Path | None = None) -> str:
        """Run a program with this cluster's environment and return its output."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, cwd=cwd, timeout=1200
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def queue(self) -> str:
        """The jobs that are waiting or running."""
        return self.run("squeue", "-h", "-o", "%i %T %N %r")

    def wait_for_jobs(self) -> None:
        """Return when no job is waiting or running."""
        wait_until(lambda: not self.queue(), self.logs)

    def job(self, number: str) -> dict[str, str]:
        """The properties of a job or a task of an array job, by SLURM's names."""
        words = self.run("scontrol", "show", "job", number, check=True).split()
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def logs(self) -> str:
        """The queue, the nodes and the ends of the daemons' logs."""
        logs = [path.read_text(errors="replace")[-2000:] for path in sorted(self.folder.glob("*.log"))]
        return "\n".join([self.queue(), self.run("sinfo", "-N"), *logs])

    def _start(self, name: str, *options: str, program: str = "") -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                [program or name, *options], env=self.environment, stdout=out, stderr=out, start_new_session=True
            )


def _read(path: Path) -> bytes:
    """A file below /proc; empty where its process has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parent(process: Path) -> str:
    """The process ID of a process's parent; empty where the process has ended."""
    return _read(process / "stat").rpartition(b")")[2].decode().split()[1] if _read(process / "stat") else ""


def _is_manager(pid: str) -> bool:
    """Whether a process is the one that SLURM starts on a node for each step of a job."""
    return _read(Path("/proc", pid, "comm")).strip() == b"slurmstepd"


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
