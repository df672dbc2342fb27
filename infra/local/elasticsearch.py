"""Elasticsearch 9.2.0 as one node, from its published jars with a launcher and an analysis plugin of ours (`java/`)."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

from infra.local import artefacts
from infra.local.server import Launch, Place, http_get
from weir.settings import Port

SOURCES = Path(__file__).parent / "java" / "elasticsearch"
VERSION = "9.2.0"
NETWORK_MODULE = "transport-netty4"

CONFIG = """\
cluster.name: weir
node.name: weir
path.data: {data}
path.logs: {logs}
network.host: {host}
http.port: {port}
transport.port: {transport}
discovery.type: single-node
# An index made by a typo would have guessed mappings: ours are created with theirs.
action.auto_create_index: false
# A full disk is refused before the start; these marks would turn a well-filled laptop's indexes read-only.
cluster.routing.allocation.disk.threshold_enabled: false
"""

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSS} %-5p %c{1.}: %m%consoleException%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""

DESCRIPTOR = """\
description=Analysis parts that the published server jar lacks
version={version}
name=weir-analysis
classname=weir.analysis.AnalysisPlugin
java.version=21
elasticsearch.version={version}
"""


class Elasticsearch:
    name = "elasticsearch"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.port = place.settings.port(Port.ELASTICSEARCH)
        self._data = place.data("elasticsearch")
        self._config = place.config("elasticsearch")

    def install(self) -> None:
        self._installed()

    def _installed(self) -> Path:
        key = artefacts.key(SOURCES, Path(__file__))
        return artefacts.built(self.place.servers_dir, "elasticsearch", key, self._build)

    def _build(self, folder: Path) -> None:
        """Lays out `lib/` (the class path, our launcher in it) and `modules/` (network and analysis)."""
        lib, modules = folder / "lib", folder / "modules"
        artefacts.maven_jars(self.place.servers_dir, SOURCES / "pom.xml", lib, self.place.java_home)

        analysis = modules / "weir-analysis"
        analysis.mkdir(parents=True)
        launcher = self._compile(SOURCES / "launcher", folder / "weir-launcher.jar", lib)
        self._compile(SOURCES / "plugin", analysis / "weir-analysis.jar", lib)
        launcher.rename(lib / launcher.name)
        (analysis / "plugin-descriptor.properties").write_text(DESCRIPTOR.format(version=VERSION))

        network = modules / NETWORK_MODULE
        network.mkdir()
        own = lib / f"{NETWORK_MODULE}-{VERSION}.jar"
        with zipfile.ZipFile(own) as jar:
            inside = f"META-INF/es-plugins/{NETWORK_MODULE}/"
            descriptor = jar.read(inside + "plugin-descriptor.properties").decode()
            policy = jar.read(inside + "entitlement-policy.yaml")
        # On a plain class path there is no named Java module to load it from.
        descriptor = re.sub(r"(?m)^modulename=.*$", "", descriptor)
        (network / "plugin-descriptor.properties").write_text(descriptor)
        (network / "entitlement-policy.yaml").write_bytes(policy)
        for jar_file in [own, *lib.glob("netty-*.jar")]:
            shutil.move(jar_file, network / jar_file.name)

    def _compile(self, sources: Path, jar: Path, lib: Path) -> Path:
        javac = str(self.place.java_home / "bin" / "javac")
        files = [str(p) for p in sorted(sources.glob("*.java"))]
        with tempfile.TemporaryDirectory() as classes:
            argv = [javac, "-nowarn", "--release", "21", "-cp", f"{lib}/*", "-d", classes, *files]
            artefacts.call(argv, f"compiling {sources.name}")
            with zipfile.ZipFile(jar, "w") as out:
                for file in sorted(Path(classes).rglob("*.class")):
                    out.write(file, file.relative_to(classes).as_posix())
        return jar

    def prepare(self) -> None:
        for folder in (self._data, self._config / "tmp", self._config / "config"):
            folder.mkdir(parents=True, exist_ok=True)
        settings = self.place.settings
        (self._config / "config" / "elasticsearch.yml").write_text(
            CONFIG.format(
                data=json.dumps(str(self._data)),
                logs=json.dumps(str(self._config)),
                host=settings.host,
                port=self.port,
                transport=settings.port(Port.ELASTICSEARCH_TRANSPORT),
            )
        )
        (self._config / "config" / "log4j2.properties").write_text(LOGGING)

    def launch(self) -> Launch:
        installed = self._installed()
        heap = self.place.settings.elasticsearch_heap
        flags = [
            f"-Xms{heap}",
            f"-Xmx{heap}",
            "-XX:+ExitOnOutOfMemoryError",
            "--add-modules=jdk.incubator.vector",
            "--enable-native-access=ALL-UNNAMED",
            f"-Djava.io.tmpdir={self._config / 'tmp'}",
            f"-Des.path.home={installed}",
            "-Dlog4j2.disable.jmx=true",
            "-Dlog4j2.formatMsgNoLookups=true",
        ]
        class_path = f"{installed / 'lib'}/*"
        main = ["weir.launcher.LocalNode", str(installed), str(self._config / "config")]
        return Launch([self.place.java, *flags, "-cp", class_path, *main], cwd=self._config)

    def ready(self) -> bool:
        url = f"http://{self.place.settings.host}:{self.port}/_cluster/health"
        said = http_get(url)
        return said is not None and json.loads(said)["status"] in ("green", "yellow")

    def settle(self) -> None:
        """Nothing: each view creates its own index."""
