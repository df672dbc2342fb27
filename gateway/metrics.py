"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SESSIONS = Gauge("weir_gateway_sessions", "WebSocket sessions that are open")
OPEN_ANSWERS = Gauge("weir_gateway_open_answers", "Answers that this gateway listens to")
ASKED = Counter("weir_gateway_asked", "Questions that were produced")
REFUSED = Counter("weir_gateway_refused", "Requests and messages that were refused", ["code"])
SLOW_CLIENTS = Counter("weir_gateway_slow_clients", "Sessions that were dropped because the client did not read")
FIRST_TEXT = Histogram(
    "weir_gateway_first_text_seconds", "Seconds from a question to its first text",
    buckets=(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30))
