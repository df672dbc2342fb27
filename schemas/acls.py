"""Kafka's access lists, from the topics table.

`python -m schemas.acls [PREFIX]` prints the arguments of `kafka-acls.sh`, one call a line.

A process signs in under its own name (`streams.documents`); `publishers` and `approvers` are programs of users.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from schemas.topics import TOPICS, Topic

OUTSIDE = frozenset({"publishers", "approvers"})
"""Users that are no processes of Weir: they see nothing but their topics."""
OPERATORS = "operators"
TRANSACTIONAL = frozenset({"streams.agents", "consumers.tools", OPERATORS})
"""Who commits what it writes together with its offsets, or as one of many that may; their transactional ids begin with
their names."""
WATCHED = (("streams.answers", "consumers.keywords"), ("streams.answers", "consumers.vectors"))
"""Who asks how far which other groups have come: a search is used again where they have everything."""


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    user: str
    operation: str
    """Read, Write, Describe, ..."""
    resource: str
    """topic, group, transactional-id or cluster."""
    name: str
    """Name of the resource; empty for the cluster."""
    prefixed: bool = False
    """Whether `name` is the beginning of the names it is about."""

    def arguments(self) -> str:
        """Of `kafka-acls.sh`."""
        parts = ["--add", "--allow-principal", f"User:{self.user}", "--operation", self.operation, f"--{self.resource}"]
        parts += [self.name] if self.name else []
        return " ".join([*parts, *(["--resource-pattern-type", "prefixed"] if self.prefixed else [])])


def acls(prefix: str = "") -> list[Acl]:
    """Who may do what to which topic, group and the cluster.

    Args:
        prefix: WEIR_PREFIX of the installation.
    """
    found: set[Acl] = set()
    for topic in TOPICS:
        for operation, users in (("Write", topic.writers), ("Read", topic.readers)):
            for user in users:
                found |= {_of(user, operation, topic, prefix), _of(user, "Describe", topic, prefix)}
    for user in {u for topic in TOPICS for u in (*topic.writers, *topic.readers)} - {OPERATORS}:
        # Groups are named after the process; those of an index version have its name behind.
        found.add(Acl(user, "Read", "group", prefix + user, prefixed=True))
        if user not in OUTSIDE:
            # Readers of a view compare it with the end of the topic it is made from.
            found.add(Acl(user, "Describe", "topic", prefix or "*", prefixed=bool(prefix)))
    for user, group in WATCHED:
        found.add(Acl(user, "Describe", "group", prefix + group, prefixed=True))
    for user in TRANSACTIONAL:
        for operation in ("Describe", "Write"):
            found.add(Acl(user, operation, "transactional-id", prefix + user, prefixed=True))
    for operation in ("Create", "Describe", "Read", "Write", "Alter", "AlterConfigs", "DescribeConfigs", "Delete"):
        found.add(Acl(OPERATORS, operation, "topic", prefix or "*", prefixed=bool(prefix)))
    for operation in ("Describe", "Read", "Delete"):
        found.add(Acl(OPERATORS, operation, "group", prefix or "*", prefixed=bool(prefix)))
    found.add(Acl(OPERATORS, "Describe", "cluster", ""))
    return sorted(found)


def _of(user: str, operation: str, topic: Topic, prefix: str) -> Acl:
    stem, brace, _ = topic.name.partition("{")
    return Acl(user, operation, "topic", prefix + stem, prefixed=bool(brace))


if __name__ == "__main__":
    for acl in acls(*sys.argv[1:2]):
        print(acl.arguments())
