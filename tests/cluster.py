"""A real Slurm of three nodes with fake GPUs, on this machine, in a folder, for tests.

``with Cluster(folder) as cluster:`` starts munged, slurmctld and a slurmd for each node; commands that run with
``cluster.environment`` see this cluster and no other. Jobs go to n1 and n2, those of the partition ``fragile`` to n3.
Needs root and the programs of `PROGRAMS`.
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
NODES = ("n1", "n2", "n3")
CPUS, MEMORY, GPUS = 8, 16000, 4  # of each node, more than there are: most jobs of a study wait for something
SEARCH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
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
{nodes}
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=UNLIMITED State=UP
PartitionName=fragile Nodes=n3 MaxTime=UNLIMITED State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
SIZE = f"CPUs={CPUS} RealMemory={MEMORY} Gres=gpu:{GPUS}"


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
        daemons = [*(f"slurmd.{node}" for node in NODES), "slurmctld", "munged"]
        running = [pid for name in daemons if (pid := self.pid(name))]
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
        """Of ``munged``, ``slurmctld``, ``slurmd.n1`` and so on."""
        path = self.folder / f"{daemon}.pid"
        return int(path.read_text()) if path.exists() and path.read_text().strip() else None

    def kill(self, daemon: str) -> None:
        """End ``slurmctld``, or a node (``slurmd.n3``) with all that runs on it, as a power cut does."""
        node = daemon.removeprefix("slurmd.")
        marks = [f"SLURMD_NODENAME={node}\0".encode()]  # in the environment of jobs; their keepers bear their numbers
        if node != daemon:
            marks += [f"slurmstepd: [{job}.".encode() for job in self("squeue", "-h", "-w", node, "-o", "%i").split()]
        os.kill(self.pid(daemon) or 0, signal.SIGKILL)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                text = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
                if any(mark in text for mark in marks):
                    os.kill(int(process.name), signal.SIGKILL)

    def restart(self, daemon: str) -> None:
        """Start what was killed."""
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
        host, (port, *ports) = socket.gethostname().split(".")[0], _free_ports(1 + len(NODES))
        nodes, devices = [], []
        for name, own in zip(NODES, ports, strict=True):
            nodes.append(NODE.format(name=name, host=host, port=own) + SIZE)
            for number in range(GPUS):  # Slurm hands out GPUs only where these are devices: here twins of /dev/null
                device = self.folder / f"nvidia-{name}-{number}"
                os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
                devices.append(f"NodeName={name} Name=gpu File={device}\n")
        text = SLURM_CONF.format(folder=self.folder, host=host, port=port, nodes="\n".join(nodes))
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("".join(devices))
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


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
