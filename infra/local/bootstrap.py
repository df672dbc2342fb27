"""The first of the two commands: checks the machine, makes the environment, and hands over to `weir`.

    python3 infra/local/bootstrap.py            the environment to run Weir (`make run`)
    python3 infra/local/bootstrap.py --dev      and what its tests need (`make test`)

Standard library only. It refuses before anything is created, and says everything that is in the way at once.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from infra.local import machine  # noqa: E402  (its folder is known only now)

VENV = ROOT / ".venv"


def say(text: str) -> None:
    print(text, flush=True)


def refuse(problems: list[str]) -> None:
    say("Weir cannot start here yet. Nothing was changed.\n")
    for problem in problems:
        say(f"  - {problem}")
    sys.exit(2)


def running(home: Path) -> bool:
    """Whether this home's supervisor is at work: then the ports and the memory are its own."""
    import fcntl

    try:
        with (home / "run" / "supervisor.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def check(dev: bool) -> None:
    """Ends the program where something is in the way."""
    try:
        plan = machine.Plan.read(os.environ, ROOT)
    except ValueError as error:
        refuse([f"A WEIR_ setting is wrong: {error}."])
    problems = machine.problems(plan, os.environ)
    # The tests have a home and ports of their own and check those themselves.
    if not dev and not running(plan.home) and not (plan.home / "run" / "state.json").exists():
        problems += machine.memory_problems(plan, machine.free_memory()) + machine.port_problems(plan, processes=10)
    if problems:
        refuse(problems)


def environment(dev: bool) -> None:
    """Creates `.venv` and installs Weir into it, unless that is done for this very list of packages."""
    extra = "[dev]" if dev else ""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()[:16]
    # What the tests need includes what Weir needs.
    done = [VENV / f".weir{x}-{wanted}" for x in {extra, "[dev]"}]
    if any(p.exists() for p in done) and (VENV / "bin" / "weir").exists():
        return
    if not (VENV / "bin" / "python").exists():
        say("Creating the Python environment (.venv)")
        run([sys.executable, "-m", "venv", str(VENV)], "creating .venv")
    say("Installing Weir's packages into .venv (about a minute the first time)")
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*pip, "-e", f"{ROOT}{extra}"], "installing Weir's packages")
    (VENV / f".weir{extra}-{wanted}").touch()


def run(argv: list[str], what: str) -> None:
    started = time.monotonic()
    if subprocess.run(argv, cwd=ROOT, check=False).returncode != 0:
        sys.exit(f"{what} failed (the lines above say why). Put it right and run the same command again.")
    say(f"  done in {time.monotonic() - started:.0f} s")


def main(arguments: list[str]) -> None:
    dev = "--dev" in arguments
    os.chdir(ROOT)
    check(dev)
    environment(dev)


if __name__ == "__main__":
    main(sys.argv[1:])
