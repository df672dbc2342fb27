"""The four local servers."""

from __future__ import annotations

from infra.local.elasticsearch import Elasticsearch
from infra.local.kafka import Kafka
from infra.local.milvus import Milvus
from infra.local.server import Place, Server
from infra.local.triton import Triton

SERVERS: tuple[type[Kafka] | type[Elasticsearch] | type[Milvus] | type[Triton], ...] = (
    Kafka,
    Elasticsearch,
    Milvus,
    Triton,
)


def servers(place: Place) -> list[Server]:
    return [server(place) for server in SERVERS]
