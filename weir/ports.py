"""The local ports, as offsets from `WEIR_PORT_BASE`.

Standard library only: the first start reads it before anything is installed.
"""

from __future__ import annotations

from enum import IntEnum

PORT_BASE = 18400
"""Default of `WEIR_PORT_BASE`."""


class Port(IntEnum):
    """Offset of each local port from `WEIR_PORT_BASE`."""

    GATEWAY = 0
    KAFKA = 1
    KAFKA_CONTROLLER = 2
    ELASTICSEARCH = 3
    ELASTICSEARCH_TRANSPORT = 4
    MILVUS = 5
    MILVUS_METRICS = 6
    TRITON_HTTP = 7
    TRITON_GRPC = 8
    TRITON_METRICS = 9
    MILVUS_ETCD = 10
    MILVUS_ETCD_PEER = 11
    MAIL = 12
    """SMTP server that keeps what tasks send and delivers it to nobody."""
    MAIL_PAGE = 13
    """The page that shows it."""
    METRICS = 20
    """First of the ports on which Weir's own processes serve Prometheus metrics, one each."""
    MILVUS_PROXY_INTERNAL = 80
    MILVUS_ROOT_COORD = 81
    MILVUS_QUERY_COORD = 82
    MILVUS_QUERY_NODE = 83
    MILVUS_DATA_COORD = 84
    MILVUS_DATA_NODE = 85
    MILVUS_INDEX_NODE = 86
    MILVUS_INDEX_COORD = 87
