"""A supervisor over small real programs, run as a process of its own: `python -m tests.kit.small_weir HOME`.

steady     a server that runs on, and has a child of its own
crasher    a process that ends with status 3 at once, every time
polite     a process that writes `bye` and ends when it gets SIGTERM
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from infra.local import orphans, state
from infra.local.server import Launch
from infra.local.state import Kind
from infra.local.supervisor import Supervisor, say
from infra.local.unit import Backoff, Unit

STEADY = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
CRASHER = "import sys; print('crashing', flush=True); sys.exit(3)"
POLITE = """
import signal, sys, time
def end(*_):
    print('bye', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print('hello', flush=True)
time.sleep(600)
"""
BACKOFF = Backoff(first=0.1, longest=0.8, healthy=60.0)


def unit(home: Path, name: str, kind: Kind, program: str, ready_when: str = "") -> Unit:
    log = home / "logs" / f"{name}.log"
    return Unit(
        name=name,
        kind=kind,
        port=0,
        launch=lambda: Launch([sys.executable, "-c", program], stop_grace=3.0),
        ready=lambda: ready_when in log.read_text(),
    )


def main(home: Path) -> None:
    lock = state.hold(home)
    if lock is None:
        sys.exit("another supervisor of this home is running")
    with lock:
        orphans.end(orphans.mark(home), 1.0, say)
        units = [
            unit(home, "steady", Kind.SERVER, STEADY),
            unit(home, "crasher", Kind.PROCESS, CRASHER, ready_when="never"),
            unit(home, "polite", Kind.PROCESS, POLITE, ready_when="hello"),
        ]
        supervisor = Supervisor(
            home, units, setup=lambda: None, setup_needs=frozenset({"steady"}), backoff=BACKOFF, say=say
        )
        signal.signal(signal.SIGTERM, lambda *_: supervisor.request_stop())
        supervisor.run(os.getpid())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
