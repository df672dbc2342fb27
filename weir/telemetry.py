"""Logs, metrics and traces of a process.

Logs are JSON lines on standard output, each with the ids that were bound while it was written: the record's topic,
partition and offset, the answer or document, the trace. Metrics are Prometheus's; traces are OpenTelemetry's and travel
between processes as the W3C `traceparent` header of a Kafka record.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import structlog
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags
from prometheus_client import Counter, Gauge, Histogram, start_http_server

from weir.settings import Settings

TRACEPARENT = "traceparent"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

RECORDS = Counter("weir_records", "Records a worker has finished with", ["worker", "outcome"])
RECORD_SECONDS = Histogram("weir_record_seconds", "Seconds of one call of a worker's handler", ["worker"],
                           buckets=_SECONDS)
IN_FLIGHT = Gauge("weir_in_flight", "Records a worker has read and not finished", ["worker"])
RETRYING = Gauge("weir_retrying", "Records that wait for their next try", ["worker"])
RETRIES = Counter("weir_retries", "Tries that failed and are repeated", ["worker", "code"])
DEAD_LETTERS = Counter("weir_dead_letters", "Records given up", ["worker", "code"])
LAG = Gauge("weir_lag", "Records between the end of a topic and a worker's place in it", ["worker", "topic"])
VECTORS = Counter("weir_vectors", "Vectors of questions and sentences, remembered or computed", ["how"])
PRODUCED = Counter("weir_produced", "Records acknowledged by Kafka", ["topic"])
PRODUCE_SECONDS = Histogram("weir_produce_seconds", "Seconds from produce to acknowledgement", buckets=_SECONDS)


_exporting = False


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a module; bind ids with `.bind(answer=...)` or `bound(...)`."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(module=name))


bound = structlog.contextvars.bound_contextvars
"""`with bound(answer=...)`: the ids appear in every line logged inside, also in awaited calls."""


def start(settings: Settings, process: str) -> TracerProvider:
    """Sets up logs, metrics and traces of this process. Call once, before anything else; shut the result down last.

    Raises:
        OSError: the metrics port is taken.
    """
    _start_logs(settings, process)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr="127.0.0.1")
    provider = TracerProvider(resource=Resource({"service.name": f"weir.{process}",
                                                 "service.instance.id": settings.instance}))
    if settings.otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint.rstrip("/") + "/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        global _exporting
        _exporting = True
    trace.set_tracer_provider(provider)
    return provider


def _start_logs(settings: Settings, process: str) -> None:
    def origin(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["process"], event["instance"] = process, settings.instance
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event["trace"] = f"{context.trace_id:032x}"
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars, origin, structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.format_exc_info]
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout), cache_logger_on_first_use=True)
    library = logging.StreamHandler(sys.stdout)
    library.setFormatter(structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(ensure_ascii=False)],
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared]))
    logging.basicConfig(handlers=[library], level=max(level, logging.WARNING), force=True)


def inject(headers: dict[str, bytes]) -> None:
    """Adds the current trace to a record's headers, where there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid and TRACEPARENT not in headers:
        headers[TRACEPARENT] = b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)


def extract(headers: Mapping[str, bytes]) -> SpanContext | None:
    """The trace a record belongs to. Source: W3C Trace Context, version 00."""
    parts = headers.get(TRACEPARENT, b"").split(b"-")
    if len(parts) < 4 or tuple(map(len, parts[:4])) != (2, 32, 16, 2):
        return None
    try:
        trace_id, span_id, flags = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except ValueError:
        return None
    found = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return found if found.is_valid else None


@contextmanager
def span(name: str, parent: SpanContext | None = None, *, kind: SpanKind = SpanKind.INTERNAL,
         links: list[SpanContext] | None = None, **attributes: Any) -> Iterator[Span]:
    """A stretch of work in the current trace, or in that of `parent`. An exception that passes marks it failed."""
    context = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
    if not _exporting:
        # Nobody collects spans: ids alone, for logs and headers, cost a tenth of a recorded span.
        above = parent or trace.get_current_span().get_span_context()
        ids = SpanContext(above.trace_id or random.getrandbits(128) or 1, random.getrandbits(64) or 1, is_remote=False,
                          trace_flags=above.trace_flags)
        token = attach(trace.set_span_in_context(NonRecordingSpan(ids)))
        try:
            yield NonRecordingSpan(ids)
        finally:
            detach(token)
        return
    with trace.get_tracer("weir").start_as_current_span(
            name, context, kind, attributes, links=[Link(c) for c in links or ()]) as current:
        yield current
