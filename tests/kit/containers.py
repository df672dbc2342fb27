"""The servers from their official images, for `pytest --containers` where a container engine answers.

Versions are those of production (`infra/docker-compose.yml`), one node each. This was written against the
testcontainers library and not run: the machine it was written on has no container engine.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import tritonclient.grpc as triton
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage

from infra.local.models import repository
from infra.local.server import Place, http_get, listens
from infra.local.triton import Triton
from weir.settings import Settings

KAFKA = "apache/kafka:4.3.1"
ELASTICSEARCH = "docker.elastic.co/elasticsearch/elasticsearch:9.2.0"
MILVUS = "milvusdb/milvus:v2.6.0"
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0


def engine_answers() -> bool:
    """Whether a container engine listens where `DOCKER_HOST`, or Docker's own default, says."""
    where = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    if where.scheme != "unix":
        return listens(where.hostname or "localhost", where.port or 2375)
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(where.path) == 0


@contextmanager
def containers(settings: Settings) -> Iterator[dict[str, str]]:
    """Starts one container a server; yields the `WEIR_*` variables that lead to them.

    Raises:
        TimeoutError: a server did not answer in time.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        stack.enter_context(kafka(port))
        elastic = stack.enter_context(elasticsearch())
        milvus_ = stack.enter_context(milvus(folder))
        repository.lay_out(
            folder / "models", Triton(Place(settings, Path())).weights(), threads=settings.triton_threads
        )
        image = stack.enter_context(DockerImage(path=str(ROOT), dockerfile_path="infra/Dockerfile.triton"))
        triton_ = stack.enter_context(embedder(str(image), folder / "models"))
        found = {
            "WEIR_KAFKA": f"localhost:{port}",
            "WEIR_ELASTICSEARCH": address(elastic, 9200, "http://"),
            "WEIR_MILVUS": address(milvus_, 19530, "http://"),
            "WEIR_TRITON": address(triton_, 8001),
        }
        until(lambda: kafka_answers(found["WEIR_KAFKA"]), KAFKA)
        until(lambda: elasticsearch_answers(found["WEIR_ELASTICSEARCH"]), ELASTICSEARCH)
        until(lambda: http_get(address(milvus_, 9091, "http://") + "/healthz") is not None, MILVUS)
        until(lambda: triton_answers(found["WEIR_TRITON"]), "Triton")
        yield found


def kafka(port: int) -> DockerContainer:
    """One node. Its advertised address has to be known before it starts, so the host's port is chosen here."""
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://localhost:{port}",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "1000",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    container = DockerContainer(KAFKA).with_bind_ports(9092, port)
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)
    return container


def elasticsearch() -> DockerContainer:
    container = DockerContainer(ELASTICSEARCH).with_exposed_ports(9200)
    for name, value in {
        "discovery.type": "single-node",
        "xpack.security.enabled": "false",
        "action.auto_create_index": "false",
        "ES_JAVA_OPTS": "-Xms512m -Xmx512m",
    }.items():
        container.with_env(name, value)
    return container


def milvus(folder: Path) -> DockerContainer:
    """Standalone with its embedded etcd and local storage."""
    etcd = folder / "etcd.yaml"
    etcd.write_text("listen-client-urls: http://0.0.0.0:2379\nadvertise-client-urls: http://0.0.0.0:2379\n")
    container = DockerContainer(MILVUS).with_exposed_ports(19530, 9091).with_command("milvus run standalone")
    for name, value in {
        "ETCD_USE_EMBED": "true",
        "ETCD_DATA_DIR": "/var/lib/milvus/etcd",
        "ETCD_CONFIG_PATH": "/milvus/configs/etcd.yaml",
        "COMMON_STORAGETYPE": "local",
        "DEPLOY_MODE": "STANDALONE",
    }.items():
        container.with_env(name, value)
    return container.with_volume_mapping(str(etcd), "/milvus/configs/etcd.yaml", "ro")


def embedder(image: str, models: Path) -> DockerContainer:
    loaded = [f"--load-model={model.name}" for model in repository.MODELS if model.at_start]
    command = ["tritonserver", "--model-repository=/models", "--model-control-mode=explicit", *loaded]
    container = DockerContainer(image, shm_size="256m").with_exposed_ports(8001).with_command(" ".join(command))
    return container.with_volume_mapping(str(models), "/models", "ro")


def address(container: DockerContainer, port: int, scheme: str = "") -> str:
    return f"{scheme}{container.get_container_host_ip()}:{container.get_exposed_port(port)}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kafka_answers(bootstrap: str) -> bool:
    try:
        return bool(AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=3.0).brokers)
    except KafkaException:
        return False


def elasticsearch_answers(url: str) -> bool:
    said = http_get(f"{url}/_cluster/health")
    return said is not None and json.loads(said)["status"] in ("green", "yellow")


def triton_answers(where: str) -> bool:
    client = triton.InferenceServerClient(where)
    try:
        return bool(client.is_server_ready())
    except triton.InferenceServerException:
        return False
    finally:
        client.close()


def until(answers: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not answers():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not answer within {PATIENCE:.0f} s")
        time.sleep(0.5)
