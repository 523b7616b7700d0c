"""A real Slurm of two nodes with two fake GPUs each, on this machine, in a folder, for tests.

``with Cluster(folder) as cluster:`` starts munged, slurmctld and two slurmd; commands that run with
``cluster.environment`` see this cluster and no other. Needs root and the programs of `PROGRAMS`.
"""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
COMMANDS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
NODES = ("n1", "n2")
CPUS, MEMORY, GPUS = 4, 4000, 2  # of each node
SEARCH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1
GresTypes=gpu
MpiDefault=none
ReturnToService=2
MinJobAge=3600
KillWait=10
SlurmdTimeout=20
SlurmdParameters=config_overrides
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs={cpus} RealMemory={memory} \
Gres=gpu:{gpus} State=UNKNOWN
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=UNLIMITED State=UP
"""


def missing() -> str:
    """Why no cluster can be started here; empty where it can."""
    if os.geteuid() != 0:
        return "a test cluster needs root"
    absent = [name for name in PROGRAMS if not shutil.which(name, path=SEARCH)]
    return f"Slurm is not installed: no {', '.join(absent)}" if absent else ""


class Cluster:
    """See the module. ``environment``: for commands of the cluster's user."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        for name in [name for name in self.environment if name.startswith(("SLURM", "SBATCH"))]:
            del self.environment[name]

    def __enter__(self) -> "Cluster":
        try:
            self._configure()
            self._daemon("munged", "--force", *(f"--{key}={self.folder / name}" for key, name in self._munge().items()))
            self._daemon("slurmctld", "-c")
            for node in NODES:
                self._daemon("slurmd", "-N", node)
            self.wait(lambda: self("sinfo", "-hN", "-t", "idle", "-o", "%N").split() == [*NODES], "idle nodes", 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self("scancel", "--user", "root", "--signal", "KILL", "--full")
        running = [pid for name in ("slurmd.n1", "slurmd.n2", "slurmctld", "munged") if (pid := self.pid(name))]
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while any(Path(f"/proc/{pid}").exists() for pid in running) and time.monotonic() < deadline:
            time.sleep(0.1)

    def __call__(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise subprocess.SubprocessError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def jobs(self, rule: str = "", states: str = "all") -> dict[str, str]:
        """State by id of the jobs of a rule of Snakemake, the newest first."""
        lines = self("squeue", "-h", "-S", "-i", "-t", states, "-o", "%i|%T|%k").splitlines()
        found = [line.split("|", 2) for line in lines]
        return {job: state for job, state, comment in found if comment.startswith(f"rule_{rule}")}

    def pid(self, daemon: str) -> int | None:
        """Of ``munged``, ``slurmctld``, ``slurmd.n1`` or ``slurmd.n2``."""
        path = self.folder / f"{daemon}.pid"
        return int(path.read_text()) if path.exists() and path.read_text().strip() else None

    def restart(self, daemon: str) -> None:
        """Start ``slurmctld``, ``slurmd.n1`` or ``slurmd.n2`` again after its process was killed."""
        name, _, node = daemon.partition(".")
        self._daemon(name, *(["-N", node] if node else []))

    def wait(self, condition, what: str, seconds: float) -> None:
        """Until ``condition()`` is true; TimeoutError that names ``what`` after so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(subprocess.SubprocessError):
                if condition():
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {what} within {seconds:g} s")
            time.sleep(0.2)

    def _configure(self) -> None:
        for name in ("state", "bin", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o400)
        devices = [self.folder / f"nvidia{number}" for number in range(len(NODES) * GPUS)]
        for device in devices:  # Slurm hands out GPUs only where these are devices: here twins of /dev/null
            os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        host = socket.gethostname().split(".")[0]
        text = SLURM_CONF.format(
            folder=self.folder, host=host, ports=_free_ports(), cpus=CPUS, memory=MEMORY, gpus=GPUS
        )
        (self.folder / "slurm.conf").write_text(text)
        prefix = self.folder / "nvidia"
        (self.folder / "gres.conf").write_text(
            f"NodeName=n1 Name=gpu File={prefix}[0-1]\nNodeName=n2 Name=gpu File={prefix}[2-3]\n"
        )
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        for name in COMMANDS:  # jobs lose the variable SLURM_CONF on their way
            command = self.folder / "bin" / name
            command.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which(name)} "$@"\n')
            command.chmod(0o755)

    def _munge(self) -> dict[str, str]:
        files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid"}
        return files | {"log-file": "munged.log", "seed-file": "munge.seed"}

    def _daemon(self, name: str, *arguments: str) -> None:
        program = shutil.which(name, path=SEARCH) or name
        configuration = [] if name == "munged" else ["-f", str(self.folder / "slurm.conf")]
        # of its own session: a signal for the tests is none for the cluster
        subprocess.run(
            [program, *configuration, *arguments], env=self.environment, check=True, timeout=30, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def _free_ports() -> list[int]:
    """Three free ports, the last two of them neighbours."""
    while True:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            sockets[0].bind(("127.0.0.1", 0))
            sockets[1].bind(("127.0.0.1", 0))
            first, second = (item.getsockname()[1] for item in sockets[:2])
            try:
                sockets[2].bind(("127.0.0.1", second + 1))
            except OSError:
                continue
            return [first, second, second + 1]
