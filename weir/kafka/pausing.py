"""Pausing a consumer's partitions, so that none of them stays paused for good.

librdkafka keeps the pause of a partition that leaves: it comes back paused. And a pause in the very moment in which the
first fetch of a partition begins may undo that fetch, with nothing to bring it back (librdkafka issues 2190 and 5591,
open as of 2.16).
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Consumer, TopicPartition

from weir.kafka.item import Partition


class Pausing:
    """Which partitions of a consumer are paused; for the thread that polls it alone."""

    def __init__(self, client: Consumer) -> None:
        self._client = client
        self._flowing: set[Partition] = set()
        self._paused: set[Partition] = set()

    def flows(self, partition: Partition) -> None:
        """Something came of the partition: its first fetch is over."""
        self._flowing.add(partition)

    def pause(self) -> None:
        """Pauses each partition of which something has come; the others at the next call after that."""
        if new := self._flowing - self._paused:
            self._client.pause(_places(new))
            self._paused |= new

    def resume(self) -> None:
        if self._paused:
            self._client.resume(_places(self._paused))
            self._paused.clear()

    def leave(self, partitions: Iterable[Partition]) -> None:
        """To be called before these are given back."""
        leaving = set(partitions)
        if paused := self._paused & leaving:
            self._client.resume(_places(paused))
        self._paused -= leaving
        self._flowing -= leaving


def _places(partitions: Iterable[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]
