"""How the stores and consumer groups of an index version are called.

A store's *label* is the version's name, with `_r2`, `_r3`, ... once it was rebuilt: `v1`, `v1_r2`. A collection, a
keyword index, the manifests of what is in it and the consumer group that fills it carry the same label, so that a new
store starts with a group that has read nothing.
"""

from __future__ import annotations

import re

from weir.settings import Settings

_REBUILT = re.compile(r"(?P<version>.+?)(?:_r(?P<number>\d+))?")


def collection(settings: Settings, label: str) -> str:
    """Name of a Milvus collection, which may hold letters, digits and underscores only."""
    return _collection_prefix(settings) + label


def keyword_index(settings: Settings, label: str) -> str:
    """Name of an Elasticsearch index of chunks."""
    return _keyword_prefix(settings) + label


def collection_label(settings: Settings, name: str) -> str:
    return name.removeprefix(_collection_prefix(settings))


def keyword_label(settings: Settings, name: str) -> str:
    return name.removeprefix(_keyword_prefix(settings))


def rebuilt(label: str) -> str:
    """The label of the store that will take this one's place."""
    match = _REBUILT.fullmatch(label)
    if match is None:
        raise ValueError(f"{label!r} is not the label of a store")
    return f"{match['version']}_r{int(match['number'] or 1) + 1}"


def worker_name(process: str, label: str) -> str:
    """Name of a worker for one index version or store; its consumer group is the same with the prefix in front."""
    return f"{process}@{label}"


def _collection_prefix(settings: Settings) -> str:
    return settings.prefix.replace("-", "_") + "weir_"


def _keyword_prefix(settings: Settings) -> str:
    return settings.prefix + "weir-chunks-"
