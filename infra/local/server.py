"""What each local server is to the rest: how it is installed, started, known to be ready, and stopped."""

from __future__ import annotations

import http.client
import signal
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from weir.settings import Settings


@dataclass(frozen=True)
class Launch:
    """One process to start."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the supervisor's own."""
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace: float = 20.0
    """Seconds between the stop signal and SIGKILL."""


class Server(Protocol):
    """One of the four servers. Its methods are called in this order; a second call changes nothing."""

    name: str
    port: int
    """The port its clients use."""

    def install(self) -> None:
        """Builds what the server is made of. Needs the network the first time; raises `Unavailable` if that fails."""

    def prepare(self) -> None:
        """Writes configuration and creates the data folder. The server is not running."""

    def launch(self) -> Launch:
        """The command to start. Its output is its log."""

    def ready(self) -> bool:
        """Whether the server answers a real request now. Quick, and False rather than an error."""

    def settle(self) -> None:
        """What has to be done once the server answers and before others use it."""


@dataclass(frozen=True)
class Place:
    """Where a server lives: the settings, and the JDK that was found."""

    settings: Settings
    java_home: Path

    @property
    def java(self) -> str:
        return str(self.java_home / "bin" / "java")

    @property
    def servers_dir(self) -> Path:
        return self.settings.servers_dir.absolute()

    def data(self, name: str) -> Path:
        """The server's state: survives restarts, belongs to this home alone."""
        return self.settings.home.absolute() / "data" / name

    def config(self, name: str) -> Path:
        """The server's configuration, written anew at each start."""
        return self.settings.home.absolute() / "run" / name


def listens(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def http_get(url: str, timeout: float = 2.0, headers: dict[str, str] | None = None) -> str | None:
    """The body of a 200 answer, or None."""
    try:
        request = urllib.request.Request(url, headers=headers or {})
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            body: bytes = reply.read()
            return body.decode(errors="replace") if reply.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
