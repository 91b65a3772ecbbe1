r"""The slurm engine on a real SLURM of one node, started here and ended again.

    apt-get install slurmctld slurmd slurm-client slurmdbd slurm-wlm-mysql-plugin munge \
        mariadb-server
    python benchmarks/slurm.py

Starts munged, MariaDB, slurmdbd, slurmctld and slurmd as root in a folder of their own, runs some
cases of the quick preset as jobs, cancels a job in the middle of its case, has a case kill its own
job, takes the controller of SLURM away and brings it back. Prints what it ran and saw. Exits 1 with
the error where SLURM could not start, or where records differ from inline's.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from gradbench.protocol.discovery import suites

NEEDED = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch")
CHOICE = "parity-d5 or parity-d10 or periodic-d5 or saturation-sigmoid-depth4"
PATIENCE = 60.0
"""Seconds that a part may take to answer."""

DATABASE = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={dbd}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mysql}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""

CONTROLLER = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
MinJobAge=300
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePass={folder}/munge.socket
AccountingStoragePort={dbd}
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=60 State=UP
"""

KILLS_ITS_JOB = """
import os
import torch

class KillsItsJob(torch.optim.SGD):
    def step(self, closure=None):
        if "SLURM_JOB_ID" in os.environ:
            os._exit(9)
        super().step(closure)
"""


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]


def said(*command: str) -> str:
    """Return what a command prints; raises CalledProcessError where it fails."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout


def answers(*command: str, word: str = "") -> None:
    """Wait until a command succeeds and says a word. Raises TimeoutError with its last words."""
    ends = time.monotonic() + PATIENCE
    last = ""
    while time.monotonic() < ends:
        try:
            last = said(*command)
            if word in last:
                return
        except subprocess.CalledProcessError as error:
            last = error.stderr
        time.sleep(0.5)
    raise TimeoutError(f"{' '.join(command)}: {last.strip() or 'no answer'}")


@contextmanager
def cluster(folder: Path) -> Iterator[Callable[..., None]]:
    """Start SLURM in a folder, yield what starts a part of it, and end all of it afterwards.

    Raises TimeoutError where it cannot.
    """
    ports = dict(zip(("dbd", "mysql", "ctld", "slurmd"), free_ports(4), strict=True))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    names = {"folder": folder, "host": socket.gethostname().split(".")[0], **ports}
    names |= {"cores": os.cpu_count(), "memory": memory}
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    (folder / "slurm.conf").write_text(CONTROLLER.format(**names))
    database = folder / "slurmdbd.conf"
    database.touch(mode=0o600)
    database.write_text(DATABASE.format(**names))
    (folder / "munge.key").touch(mode=0o600)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    with ExitStack() as stack:

        def start(*command: str) -> None:
            log = (folder / f"{Path(command[0]).name}.out").open("ab")
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
            stack.callback(process.wait)
            stack.callback(process.terminate)

        files = [f"--{key}={folder}/munge.{key}" for key in ("socket", "pid-file", "log-file")]
        start(
            *("munged", "--foreground", "--force", *files, f"--key-file={folder}/munge.key"),
            f"--seed-file={folder}/munge.seed",
        )
        answers("munge", f"--socket={folder}/munge.socket", "--no-input")
        data = folder / "mysql"
        said("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}")
        sock = f"--socket={folder}/mysql.socket"
        start(
            *("mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", sock),
            *("--bind-address=127.0.0.1", f"--port={ports['mysql']}", "--skip-name-resolve"),
        )
        answers("mariadb", sock, "--execute=select 1")
        user = "create user slurm@127.0.0.1 identified by 'slurm'"
        grant = "grant all on slurm.* to slurm@127.0.0.1"
        said("mariadb", sock, f"--execute={user}; {grant}; create database slurm")
        start("slurmdbd", "-D")
        answers("sacctmgr", "--noheader", "list", "cluster")
        said("sacctmgr", "--immediate", "add", "cluster", "one")
        start("slurmctld", "-D")
        answers("scontrol", "ping", word="UP")
        start("slurmd", "-D", "-N", names["host"])
        answers("sinfo", "--noheader", word="idle")
        yield start


def run(folder: Path, optimizer: str, choice: str, *options: str) -> subprocess.Popen[str]:
    """Start `pytest suites` on some cases."""
    command = [sys.executable, "-m", "pytest", str(suites()), f"--optimizer={optimizer}", "-q"]
    command += [f"--gb-report-dir={folder}/reports", "-k", choice, "--gb-gate=record", *options]
    print("$ pytest suites", f"--optimizer={Path(optimizer).name}", f"-k '{choice}'", *options)
    sys.stdout.flush()
    return subprocess.Popen(  # noqa: S603
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def records(folder: Path) -> list[dict[str, Any]]:
    """Return what the last run recorded, without what anything took."""
    text = (folder / "reports" / "latest" / "records.jsonl").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    for record in found:
        del record["timing"]
        record["tuning_cost"].pop("seconds", None)
        for trial in record["trials"]:
            del trial["seconds"], trial["seconds_to_target"]
    return found


def ended(process: subprocess.Popen[str]) -> None:
    """Wait for a run and print its last line."""
    out, _ = process.communicate()
    print("  ", out.strip().splitlines()[-1], flush=True)


def jobs() -> str:
    """Return the jobs that SLURM knows of, with how they ended."""
    fields = "--format=JobID,JobName,State,Elapsed"
    return said("sacct", "--allocations", "--noheader", fields).rstrip()


def main() -> int:
    """Run all of it; return the exit code."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        print(f"cannot start SLURM: {', '.join(missing)} not found (see the top of this file)")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    ways = f"--gb-engine=slurm:pack=2,folder={folder}/jobs,mem_gb=2"
    wrong = []
    try:
        with cluster(folder) as start:
            print(said("sinfo", "--version").strip(), "of", *said("sinfo", "--noheader").split())
            ended(run(folder, "adam", CHOICE, "--gb-engine=inline"))
            here = records(folder)

            ended(run(folder, "adam", CHOICE, ways))
            if records(folder) != here:
                wrong.append("records of jobs differ from inline's")

            process = run(folder, "adam", CHOICE, ways)
            answers("squeue", "--noheader", "--states=RUNNING", word="gradbenc")
            time.sleep(8)
            number = said("squeue", "--noheader", "--states=RUNNING", "--format=%A").split()[0]
            print(f"   scancel {number}")
            said("scancel", number)
            ended(process)
            if records(folder) != here:
                wrong.append("records differ after a job was cancelled")

            process = run(folder, "adam", CHOICE, ways)
            answers("squeue", "--noheader", "--states=RUNNING", word="gradbenc")
            print("   slurmctld ends, and is started again 15 s later", flush=True)
            os.kill(int((folder / "slurmctld.pid").read_text()), 15)
            time.sleep(15)
            start("slurmctld", "-D")
            ended(process)
            if records(folder) != here:
                wrong.append("records differ after SLURM's controller was away")

            (folder / "opt.py").write_text(KILLS_ITS_JOB)
            ended(run(folder, f"{folder}/opt.py:KillsItsJob", "parity-d5", ways))
            for record in records(folder):
                status, reason = (record["trials"][0][name] for name in ("status", "reason"))
                print(f"   {record['case']}: {status}: {reason}")
                if status != "crashed":
                    wrong.append("a job that was killed left no crashed record")
            print(jobs())
    except (TimeoutError, subprocess.CalledProcessError) as error:
        print(f"cannot go on: {error}")
        print(getattr(error, "stderr", None) or "")
        for log in sorted([*folder.glob("*.log"), *folder.glob("*.out")]):
            with suppress(OSError, UnicodeDecodeError):
                print(f"-- {log.name}:", *log.read_text().splitlines()[-5:], sep="\n")
        return 1
    print("\n".join(wrong) or "records equal inline's each time")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
