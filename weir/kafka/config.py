"""Every setting of librdkafka that Weir changes, in one place, each with its reason."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import KafkaError

from weir import telemetry
from weir.settings import Settings

log = telemetry.logger(__name__)

Config = dict[str, Any]


def client_config(settings: Settings) -> Config:
    """What every client needs: where the brokers are and how to sign in.

    Raises:
        SettingsError: the password file is set and cannot be read.
    """
    config: Config = {
        "bootstrap.servers": settings.kafka_address,
        "log_level": 2,
        "client.id": f"weir-{settings.process or 'client'}-{settings.instance}",
        "security.protocol": settings.kafka_security,
        # After an outage a client is back within a second of the broker (10 s by default).
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "retry.backoff.ms": 20,
        "retry.backoff.max.ms": 500,
        "socket.keepalive.enable": True,
        # New partitions are noticed within half a minute (5 minutes by default).
        "topic.metadata.refresh.interval.ms": 30_000,
    }
    if settings.kafka_security.startswith("SASL"):
        password = settings.secret(settings.kafka_password_file)
        config |= {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": settings.kafka_username,
                   "sasl.password": password.get_secret_value() if password else ""}
    if settings.kafka_security.endswith("SSL") and settings.kafka_ca_file:
        config["ssl.ca.location"] = str(settings.kafka_ca_file)
    return config


def producer_config(settings: Settings, **extra: Any) -> Config:
    """A producer whose acknowledged records survive, at the lowest latency. `extra` uses `_` for `.`."""
    return client_config(settings) | {
        "acks": "all",
        "enable.idempotence": True,
        # The default of 5 ms is added to every record of a closed loop.
        "linger.ms": 0,
        # librdkafka's own default hash differs from Java's; one key must have one partition in every language.
        "partitioner": "murmur2_random",
        "delivery.timeout.ms": 15_000,
        # Bounds the memory of a producer that is cut off; beyond it `send` waits.
        "queue.buffering.max.kbytes": 65_536,
        "queue.buffering.max.messages": 50_000,
    } | _dotted(extra)


def transactional_config(settings: Settings, transactional_id: str, **extra: Any) -> Config:
    """A transactional producer."""
    return producer_config(settings) | {
        "transactional.id": transactional_id,
        # The broker answers CONCURRENT_TRANSACTIONS once and the client waits this long: 92 ms a commit at the default.
        "retry.backoff.ms": 1,
        "retry.backoff.max.ms": 50,
        # With the broker's sweep of 1 s below the session of a stateful worker: what a dead or frozen owner left open
        # has been aborted when its successor begins.
        "transaction.timeout.ms": 5_000,
        # librdkafka refuses a record that may outlive its transaction.
        "delivery.timeout.ms": 5_000,
    } | _dotted(extra)


def consumer_config(settings: Settings, group: str, **extra: Any) -> Config:
    """A member of `group` that commits by itself never; for a stateless worker."""
    return client_config(settings) | {
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Stateless workers hand over a partition at a time and the others go on.
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": 6_000,
        "heartbeat.interval.ms": 1_000,
        # The library's own thread keeps the session; this bounds a hand-over.
        "max.poll.interval.ms": 300_000,
        # A newly assigned partition waits for the fetch that is under way (500 ms by default).
        "fetch.wait.max.ms": 50,
        "fetch.error.backoff.ms": 20,
        # 1000 ms by default, which bites with a small queue.
        "fetch.queue.backoff.ms": 20,
        # What is read ahead, per consumer (64 MiB by default).
        "queued.max.messages.kbytes": 16_384,
        "isolation.level": "read_committed",
    } | _dotted(extra)


def stateful_config(settings: Settings, group: str, instance: str, **extra: Any) -> Config:
    """A static member of `group` that keeps state for its partitions."""
    return consumer_config(settings, group) | {
        # A restart within the session gets the same partitions without a rebalance. With cooperative-sticky a member
        # that is killed between its two phases leaves partitions without an owner for good.
        "group.instance.id": instance,
        "partition.assignment.strategy": "range",
        "session.timeout.ms": 10_000,
        # A position that the log no longer has must not become another one silently.
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 100,
        "fetch.error.backoff.ms": 5,
        "fetch.queue.backoff.ms": 5,
    } | _dotted(extra)


class Outages:
    """Says that brokers do not answer, at most every ten seconds: librdkafka reports each attempt to connect."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._said = 0.0

    def say(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE):
            if time.monotonic() - self._said < 10:
                return
            self._said = time.monotonic()
        log.warning("kafka", client=self._who, code=error.name(), reason=error.str())


def _dotted(extra: dict[str, Any]) -> Config:
    return {name if name.endswith("_cb") else name.replace("_", "."): value for name, value in extra.items()}
