"""Milvus 2.3.5 standalone: the server binary out of the `milvus` wheel, run with a configuration of ours.

The wheel's own wrapper is not used: it moves to another port without a word when the one asked for is taken.
Milvus listens on every interface whatever its configuration says, so authorization is on, with a password of its own.
"""

from __future__ import annotations

import json
import lzma
import os
import secrets
import shutil
import signal
import sys
import zipfile
from pathlib import Path

from infra.local import artefacts
from infra.local.server import Launch, Place, http_get
from weir.settings import Port

WHEEL = "milvus==2.3.5"
WHEEL_SHA256 = "69515a0630ce29fd10e101fa442afea8ca1387b93a456cd9bd41fdf3deb93d04"
TEMPLATE = Path(__file__).parent / "milvus.yaml"
ETCD = """\
name: default
data-dir: {data}/etcd
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
log-level: warn
logger: zap
# Weir's log is the truth, this is a view of it: a power cut may cost a rebuild, not every commit a disk flush.
unsafe-no-fsync: true
"""


RUNTIME = Path("/tmp/milvus")
"""Where it writes its pid, whatever it is told, unless it may write to /run/milvus."""


class Milvus:
    name = "milvus"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.port = place.settings.port(Port.MILVUS)
        self._data = place.data("milvus")
        self._config = place.config("milvus")
        self._secret = place.settings.home.absolute() / "secrets" / "milvus"

    def install(self) -> None:
        self._installed()

    def _installed(self) -> Path:
        return artefacts.built(self.place.servers_dir, "milvus", artefacts.key(WHEEL, WHEEL_SHA256), self._build)

    def _build(self, folder: Path) -> None:
        file = artefacts.wheel(WHEEL, WHEEL_SHA256, folder / "download")
        with zipfile.ZipFile(file) as wheel:
            packed = [n for n in wheel.namelist() if n.startswith("milvus/data/bin/") and n.endswith(".lzma")]
            for name in packed:
                target = folder / Path(name).stem
                with wheel.open(name) as source, lzma.open(source) as plain, target.open("wb") as out:
                    shutil.copyfileobj(plain, out, 1 << 20)
                target.chmod(0o755)
        shutil.rmtree(folder / "download")

    def prepare(self) -> None:
        for folder in (self._data, self._config / "logs", self._secret.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._secret.parent.chmod(0o700)
        if not self._secret.exists():
            with os.fdopen(os.open(self._secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
        ports = {
            port.name.lower(): str(self.place.settings.port(port)) for port in Port if port.name.startswith("MILVUS")
        }
        text = TEMPLATE.read_text()
        for name, value in {**ports, "data": str(self._data), "config": str(self._config)}.items():
            text = text.replace(f"${{{name}}}", value)
        (self._config / "milvus.yaml").write_text(text)
        client, peer = ports["milvus_etcd"], ports["milvus_etcd_peer"]
        (self._config / "etcd.yaml").write_text(ETCD.format(data=self._data, client=client, peer=peer))
        self._share_runtime_folder()
        (self._config / "glog.conf").write_text("--logtostderr=true\n--minloglevel=2\n")

    @staticmethod
    def _share_runtime_folder() -> None:
        """Lets every user of this machine run a Milvus; it would make the folder its first user's own."""
        RUNTIME.mkdir(exist_ok=True)
        if RUNTIME.stat().st_uid == os.getuid():
            RUNTIME.chmod(0o1777)

    def launch(self) -> Launch:
        installed = self._installed()
        environment = {
            "MILVUSCONF": str(self._config),
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self.place.settings.port(Port.MILVUS_METRICS)),
            "MILVUS_RUN_DIR": str(self._config),
            "LD_LIBRARY_PATH": str(installed),
        }
        # Its pid file has this name: one for each user and port.
        alias = f"weir-{os.getuid()}-{self.port}"
        argv = [str(installed / "milvus"), "run", "standalone", "-alias", alias]
        # It takes SIGTERM and then runs on for a minute or more; its own write-ahead log makes SIGKILL safe.
        return Launch(argv, environment, cwd=self._config, stop_signal=signal.SIGTERM, stop_grace=3.0)

    def ready(self) -> bool:
        if not http_get(f"http://127.0.0.1:{self.place.settings.port(Port.MILVUS_METRICS)}/healthz"):
            return False
        return self._answers(self._password()) or self._answers("Milvus")

    def _answers(self, password: str) -> bool:
        url = f"http://127.0.0.1:{self.port}/v1/vector/collections"
        said = http_get(url, headers={"Authorization": f"Bearer root:{password}"})
        return said is not None and json.loads(said).get("code") == 200

    def _password(self) -> str:
        return self._secret.read_text().strip()

    def settle(self) -> None:
        """Gives a new server its password in place of the one that everybody knows.

        The client library needs 100 MB, so it runs in a process of its own rather than in the supervisor.
        """
        if not self._answers(self._password()):
            address = f"http://127.0.0.1:{self.port}"
            argv = [sys.executable, "-c", SET_PASSWORD, address, str(self._secret)]
            artefacts.call(argv, "setting the password of Milvus")


SET_PASSWORD = """
import sys
from pathlib import Path
from pymilvus import MilvusClient
client = MilvusClient(uri=sys.argv[1], user="root", password="Milvus")
client.update_password("root", "Milvus", Path(sys.argv[2]).read_text().strip())
"""
