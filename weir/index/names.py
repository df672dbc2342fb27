"""How the stores and consumer groups of an index version are called.

A store's *label* is the name of the version that it was made for, its *owner*, with `_r2`, `_r3`, ... once it was
rebuilt: `v1`, `v1_r2`. A collection, a keyword index, the manifests of what is in it and the consumer group that fills
it carry the same label, so that a new store starts with a group that has read nothing. Later versions may share it and
outlive its owner.
"""

from __future__ import annotations

import re

from weir.settings import Settings

FIRST_CUT = "c800w"
"""The cutting recipe of the first version of an index."""

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
    match = _parts(label)
    return f"{match['version']}_r{int(match['number'] or 1) + 1}"


def owner(label: str) -> str:
    """The version that a store was made for; the topic of its vectors has the same name."""
    return _parts(label)["version"]


def numbered(number: int) -> str:
    """Name of the n-th version."""
    return f"v{number}"


def number(version: str) -> int:
    """The n of the n-th version; 0 for a name of another kind."""
    return int(version[1:]) if re.fullmatch(r"v[1-9][0-9]*", version) else 0


def worker_name(process: str, label: str) -> str:
    """Name of a worker for one index version or store; its consumer group is the same with the prefix in front."""
    return f"{process}@{label}"


def cutting_worker(cut: str) -> str:
    """Name of the worker that cuts documents by a recipe. That of the first recipe has its process's name."""
    return "streams.documents" if cut == FIRST_CUT else worker_name("streams.documents", cut)


def _parts(label: str) -> re.Match[str]:
    match = _REBUILT.fullmatch(label)
    if match is None:
        raise ValueError(f"{label!r} is not the label of a store")
    return match


def _collection_prefix(settings: Settings) -> str:
    return settings.prefix.replace("-", "_") + "weir_"


def _keyword_prefix(settings: Settings) -> str:
    return settings.prefix + "weir-chunks-"
