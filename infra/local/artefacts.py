"""What the servers are made of, built once into `servers_dir` and shared by every Weir on this machine.

    servers_dir/
      kafka-<key>/            one folder an artefact; the key is a hash of everything it is built from
      elasticsearch-<key>/    so that a changed version, source file or Python builds a new one and leaves the old alone
      ...
      locks/                  one file lock an artefact: two starts at once build it once

A folder without `.part` in its name is complete: it is built beside its place and renamed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from weir.errors import Unavailable

MAVEN_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def key(*inputs: str | Path) -> str:
    """Twelve hex digits that change with any of the inputs: a text counts as itself, a file by its content."""
    digest = hashlib.sha256(f"python {sys.version_info[:2]}".encode())
    for item in inputs:
        if isinstance(item, str):
            digest.update(b"\0text\0" + item.encode())
            continue
        files = sorted(p for p in item.rglob("*") if p.is_file()) if item.is_dir() else [item]
        for file in files:
            if "__pycache__" not in file.parts:
                digest.update(b"\0file\0" + file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


@contextmanager
def locked(servers_dir: Path, name: str) -> Iterator[None]:
    """Holds the file lock of that name; waits while another process holds it."""
    locks = servers_dir / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def built(servers_dir: Path, name: str, key_: str, build: Callable[[Path], None]) -> Path:
    """The artefact's folder, built by `build(empty folder)` where it is not there yet."""
    folder = servers_dir / f"{name}-{key_}"
    if folder.exists():
        return folder
    with locked(servers_dir, name):
        if folder.exists():
            return folder
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        build(part)
        part.rename(folder)
    return folder


def call(argv: list[str], what: str, environment: Mapping[str, str] | None = None) -> None:
    """Runs a command to its end.

    Raises:
        Unavailable: it failed; the message carries the end of what it printed.
    """
    done = subprocess.run(
        argv, env={**os.environ, **(environment or {})}, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        said = "\n    ".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Unavailable(f"{what} failed (`{' '.join(argv[:6])} ...`, status {done.returncode}):\n    {said}")


def maven_jars(servers_dir: Path, pom: Path, into: Path, java_home: Path) -> None:
    """Copies the jars of a pom's dependencies into a folder."""
    argv = ["mvn", "-q", "-B", "-f", str(pom), MAVEN_PLUGIN, f"-DoutputDirectory={into.absolute()}"]
    # Maven's local repository is not made for two writers at once.
    with locked(servers_dir, "maven"):
        call(argv, f"fetching the jars of {pom.parent.name} with Maven", {"JAVA_HOME": str(java_home)})


def wheel(requirement: str, sha256: str, into: Path) -> Path:
    """Downloads one wheel, without its dependencies and checked by its hash, and returns its file."""
    into.mkdir(parents=True, exist_ok=True)
    listed = into / "requirement.txt"
    listed.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
    call([*pip, "--no-deps", "--only-binary=:all:", "-d", str(into), "-r", str(listed)], f"downloading {requirement}")
    listed.unlink()
    return next(into.glob("*.whl"))
