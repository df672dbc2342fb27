"""Apache Kafka 4.3.1 as one KRaft node, from its published jars."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.local import artefacts
from infra.local.server import Launch, Place, listens
from weir.settings import Port

POM = Path(__file__).parent / "java" / "kafka" / "pom.xml"

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}

# One broker: a single replica of everything.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

# Topics come from schemas/topics.py only.
auto.create.topics.enable=false

# A group's offsets are the position in the only source of truth: a week's rest (the default) must not lose them.
offsets.retention.minutes=525600

# Workers join and hand over quickly, and a dead one is noticed quickly.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=10000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000

# The wait for a dead transaction is its time-out plus this sweep (10 s by default).
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000

# Compaction works on closed segments only.
log.segment.bytes=67108864
log.cleaner.threads=1
log.cleaner.backoff.ms=5000
log.cleaner.dedupe.buffer.size=33554432

num.network.threads=2
num.io.threads=4
"""

LOGGING = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSS} %-5p %c{1}: %m%n
rootLogger.level=info
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
# One line a partition at every start says nothing.
logger.log.name=org.apache.kafka.storage.internals.log
logger.log.level=warn
logger.kafka.name=kafka
logger.kafka.level=warn
logger.config.name=org.apache.kafka.common.config
logger.config.level=warn
logger.server.name=org.apache.kafka.common.utils.AppInfoParser
logger.server.level=info
"""


class Kafka:
    name = "kafka"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.port = place.settings.port(Port.KAFKA)
        self._data = place.data("kafka")
        self._config = place.config("kafka")

    def install(self) -> None:
        self._installed()

    def _installed(self) -> Path:
        def build(folder: Path) -> None:
            artefacts.maven_jars(self.place.servers_dir, POM, folder / "jars", self.place.java_home)

        return artefacts.built(self.place.servers_dir, "kafka", artefacts.key(POM), build)

    def prepare(self) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        self._config.mkdir(parents=True, exist_ok=True)
        (self._config / "server.properties").write_text(
            PROPERTIES.format(
                host=self.place.settings.host,
                port=self.port,
                controller=self.place.settings.port(Port.KAFKA_CONTROLLER),
                data=self._data,
            )
        )
        (self._config / "log4j2.properties").write_text(LOGGING)
        if not (self._data / "meta.properties").exists():
            # A first letter, since a leading hyphen would read as an option.
            cluster = "W" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
            argv = [*self._jvm("128m"), "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster]
            artefacts.call([*argv, "-c", str(self._config / "server.properties")], "formatting Kafka's data folder")

    def _jvm(self, heap: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._config / 'log4j2.properties'}"
        flags = [f"-Xmx{heap}", f"-Xms{heap}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+ExitOnOutOfMemoryError"]
        class_path = str(self._installed() / "jars" / "*")
        return [self.place.java, *flags, "-Djava.awt.headless=true", logging, "-cp", class_path]

    def launch(self) -> Launch:
        heap = self.place.settings.kafka_heap
        return Launch([*self._jvm(heap), "kafka.Kafka", str(self._config / "server.properties")], cwd=self._data)

    def ready(self) -> bool:
        if not listens(self.place.settings.host, self.port):
            return False
        try:
            admin = AdminClient({"bootstrap.servers": f"{self.place.settings.host}:{self.port}", "log_level": 0})
            return bool(admin.list_topics(timeout=3.0).brokers)
        except KafkaException:
            return False

    def settle(self) -> None:
        """Nothing: topics are created by `weir.kafka.admin`."""
