"""Whether this machine can run Weir, asked before anything starts.

Standard library only: the first start has nothing else.

Every check returns the problems it found, each as one sentence that says what is wrong and what to do.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from weir.ports import PORT_BASE, Port

GLIBC = (2, 35)
"""What the Triton wheel was built for; the other wheels need less."""
PYTHONS = ((3, 11), (3, 12))
"""Triton's Python backend needs numpy below 2, which later Pythons cannot have."""
JDK = 21
FIRST_DISK_GB = 5.0
"""For environments, servers, Maven's and pip's caches, and some documents."""
LATER_DISK_GB = 1.0
BASE_MEMORY_GB = 2.5
"""Milvus, Triton and Weir's processes; the heaps of Kafka and Elasticsearch come on top."""

JVM_FOLDERS = ("/usr/lib/jvm", "/usr/java", "/opt/java", "/opt/jdk", "/opt", "~/.sdkman/candidates/java", "~/.jdks")


@dataclass(frozen=True)
class Plan:
    """What is about to start, as far as the checks care; from the environment, with the defaults of `weir.settings`."""

    home: Path
    servers_dir: Path
    host: str
    port_base: int
    java_home: Path | None
    heaps_gb: float
    """Heaps of Kafka and Elasticsearch together."""

    @classmethod
    def read(cls, environment: Mapping[str, str], root: Path) -> Plan:
        java = environment.get("WEIR_JAVA_HOME")
        return cls(
            home=root / environment.get("WEIR_HOME", ".weir"),
            servers_dir=root / environment.get("WEIR_SERVERS_DIR", ".servers"),
            host=environment.get("WEIR_HOST", "127.0.0.1"),
            port_base=int(environment.get("WEIR_PORT_BASE", PORT_BASE)),
            java_home=Path(java) if java else None,
            heaps_gb=sum(heap_gb(environment.get(f"WEIR_{name}_HEAP", "512m")) for name in ("KAFKA", "ELASTICSEARCH")),
        )


def system_problems() -> list[str]:
    """The wheels of Milvus and Triton exist for Linux on x86-64 with the GNU C library only."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return [
            f"This is {platform.system()} on {platform.machine()}; the local servers exist for Linux on x86-64 only. "
            "Use a Linux machine or virtual machine, or run the servers with infra/docker-compose.yml."
        ]
    return glibc_problems(os.confstr("CS_GNU_LIBC_VERSION") or "")


def glibc_problems(version: str) -> list[str]:
    """`version` as the C library tells it, for example "glibc 2.36"."""
    found = re.fullmatch(r"glibc (\d+)\.(\d+).*", version)
    if found and (int(found[1]), int(found[2])) >= GLIBC:
        return []
    return [
        f"The C library is {version or 'not glibc'}; the Triton server needs glibc {GLIBC[0]}.{GLIBC[1]} or newer. "
        "Use Debian 12, Ubuntu 22.04, Fedora 36 or anything newer."
    ]


def python_problems() -> list[str]:
    version = sys.version_info[:2]
    if version not in PYTHONS:
        return [
            f"This is Python {version[0]}.{version[1]}; the local Triton server needs 3.11 or 3.12. "
            "Install one and run `make run PYTHON=python3.11`."
        ]
    problems = []
    library = f"libpython{version[0]}.{version[1]}.so.1.0"
    if not (Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib") / library).exists():
        problems.append(
            f"{library} is missing; Triton's models need the shared library of this Python. On Debian and Ubuntu: "
            f"`apt install libpython{version[0]}.{version[1]}`; with pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared."
        )
    done = subprocess.run([sys.executable, "-c", "import venv, ensurepip"], capture_output=True, check=False)
    if done.returncode != 0:
        problems.append(
            f"Python's venv module is missing. On Debian, Ubuntu: `apt install python{version[0]}.{version[1]}-venv`."
        )
    return problems


def java_version(home: Path) -> int | None:
    """Major version of the JDK in that folder, or None where there is no compiler."""
    try:
        done = subprocess.run([str(home / "bin" / "javac"), "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(r"javac (\d+)", done.stdout + done.stderr)
    return int(found[1]) if found else None


def jdk_candidates(environment: Mapping[str, str]) -> list[Path]:
    """Folders where a JDK may be, in the order of preference."""
    named = [Path(environment[name]) for name in ("WEIR_JAVA_HOME", "JAVA_HOME") if environment.get(name)]
    on_path = shutil.which("javac", path=environment.get("PATH"))
    if on_path:
        named.append(Path(on_path).resolve().parents[1])
    for folder in JVM_FOLDERS:
        named.extend(sorted(p for p in Path(folder).expanduser().glob("*") if (p / "bin" / "javac").exists()))
    return list(dict.fromkeys(named))


def find_jdk(environment: Mapping[str, str], candidates: list[Path] | None = None) -> Path | str:
    """The first JDK that is new enough, or the sentence that says what is missing."""
    seen = []
    for home in candidates if candidates is not None else jdk_candidates(environment):
        version = java_version(home)
        if version is not None and version >= JDK:
            return home
        seen.append(f"{home} ({version or 'no compiler'})")
    return (
        f"No JDK {JDK} or newer was found (looked at: {', '.join(seen) or 'nothing there'}). Install one, for example "
        f"`apt install openjdk-{JDK}-jdk-headless`, or set WEIR_JAVA_HOME to its folder."
    )


def tool_problems(environment: Mapping[str, str]) -> list[str]:
    if shutil.which("mvn", path=environment.get("PATH")):
        return []
    return [
        "Maven (`mvn`) is missing; it fetches Kafka and Elasticsearch. Install it, for example `apt install maven`."
    ]


def runtime_problems(folder: Path = Path("/tmp/milvus")) -> list[str]:
    """Milvus writes its pid there, whatever it is told, unless it may write to /run/milvus."""
    if not folder.exists() or os.access(folder, os.W_OK):
        return []
    return [
        f"{folder} belongs to another user ({folder.owner()}), and Milvus has to write to it. Ask for "
        f"`chmod 1777 {folder}`, or have it removed."
    ]


def disk_problems(plan: Plan, free: Callable[[Path], float] | None = None) -> list[str]:
    """`free` gives the free space in GB at a folder."""
    look = free or free_disk
    need = LATER_DISK_GB if plan.servers_dir.exists() else FIRST_DISK_GB
    problems = []
    for folder, setting in ((plan.servers_dir, "WEIR_SERVERS_DIR"), (plan.home, "WEIR_HOME")):
        have = look(folder)
        if have < need:
            problems.append(
                f"{folder} has {have:.1f} GB free and {need:.0f} GB are needed. Free some, or move {setting}."
            )
    return problems


def free_disk(folder: Path) -> float:
    there = next(p for p in [folder, *folder.parents] if p.exists())
    return shutil.disk_usage(there).free / 1e9


def free_memory() -> float:
    """GB that can be had now: what the kernel calls available, within the limit of the control group."""
    meminfo = Path("/proc/meminfo").read_text()
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo)
    available = int(found[1]) * 1024 if found else 0
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        available = min(available, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return available / 1e9


def heap_gb(size: str) -> float:
    """A JVM's heap size ("512m", "2g") in GB."""
    found = re.fullmatch(r"(\d+)([kmg])", size.lower())
    if not found:
        raise ValueError(f"{size!r} is no heap size: write it like 512m or 2g")
    return int(found[1]) * {"k": 1024, "m": 1024**2, "g": 1024**3}[found[2]] / 1e9


def memory_problems(plan: Plan, have: float) -> list[str]:
    """`have` is what is free, in GB. A JVM takes about half its heap again."""
    need = BASE_MEMORY_GB + 1.5 * plan.heaps_gb
    if have >= need:
        return []
    return [
        f"{have:.1f} GB of memory are free and {need:.1f} GB are needed. Close something, or give Kafka and "
        "Elasticsearch less with WEIR_KAFKA_HEAP and WEIR_ELASTICSEARCH_HEAP (512m each by default, 256m at least)."
    ]


def port_problems(plan: Plan, processes: int, ours: frozenset[int] = frozenset()) -> list[str]:
    """The ports that somebody else uses. `processes`: how many metrics ports; `ours`: pids that may hold one."""
    wanted = {plan.port_base + port: port.name for port in Port if port is not Port.METRICS}
    wanted |= {plan.port_base + Port.METRICS + i: f"metrics {i}" for i in range(processes)}
    taken: dict[str, list[str]] = {}
    for number, name in sorted(wanted.items()):
        # Milvus listens on every interface whatever it is told.
        if not port_is_free("0.0.0.0" if name.startswith("MILVUS") else plan.host, number):
            pid, who = port_owner(number)
            if pid not in ours:
                taken.setdefault(who, []).append(f"{number} ({name.lower().replace('_', ' ')})")
    return [
        f"{'Ports are' if len(ports) > 1 else 'A port is'} in use: {', '.join(ports)} by {who}. Stop that, or move all "
        f"of Weir's ports with WEIR_PORT_BASE (now {plan.port_base}; it takes the 100 ports from there)."
        for who, ports in taken.items()
    ]


def port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: connections that are merely closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def port_owner(port: int) -> tuple[int | None, str]:
    """The pid that listens there and its name; None and words where that cannot be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(_target(fd) in inodes for fd in (process / "fd").iterdir()):
                name = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return int(process.name), f"process {process.name} (`{name[:60]}`)"
    return None, "another user's process"


def _target(fd: Path) -> str | None:
    """What a file descriptor of some process is; None where it was closed since it was listed."""
    try:
        return str(fd.readlink())
    except FileNotFoundError:
        return None


def problems(plan: Plan, environment: Mapping[str, str]) -> list[str]:
    """All that stands in the way on this machine, ports apart: those depend on what already runs."""
    found = [*system_problems(), *python_problems(), *tool_problems(environment), *runtime_problems()]
    found += disk_problems(plan)
    jdk = find_jdk(environment)
    if isinstance(jdk, str):
        found.append(jdk)
    return found
