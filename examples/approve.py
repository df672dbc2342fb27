"""Decides by itself: mails to one's own house pass, everything else is left to people. `python examples/approve.py`

Proposals come from Kafka; the verdicts go to the gateway, which knows who speaks by the token in WEIR_TOKEN (of
somebody in the group `approvers`: `weir token --user approver`).
"""

import io
import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import fastavro
from confluent_kafka import Consumer

broker, topic = os.environ.get("WEIR_KAFKA", "127.0.0.1:18401"), os.environ.get("WEIR_PREFIX", "") + "decisions"
gateway, house = os.environ.get("WEIR_URL", "http://127.0.0.1:18400"), os.environ.get("HOUSE", "@quillmere.example")
schema = fastavro.schema.load_schema(Path(__file__).parents[1] / "schemas/avro/Decision.avsc")
consumer = Consumer({"bootstrap.servers": broker, "group.id": topic + "-example", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
while True:
    message = consumer.poll(1.0)
    if message is None or message.error() or message.value() is None:
        continue
    decision = fastavro.schemaless_reader(io.BytesIO(message.value()[10:]), schema)  # behind C3 01 and the fingerprint
    to = json.loads(decision["arguments"])["to"] if decision["tool"] == "send_email" else []
    if (decision["status"], decision["kind"]) == ("pending", "call") and to and all(t.endswith(house) for t in to):
        verdict = {"choice": "approve", "args_hash": decision["args_hash"], "reason": f"mail within {house}"}
        request = urllib.request.Request(
            f"{gateway}/v1/approvals/{decision['approval']}/verdict", json.dumps(verdict).encode(),
            {"Authorization": f"Bearer {os.environ['WEIR_TOKEN']}", "Content-Type": "application/json"})
        try:
            print(decision["approval"], json.load(urllib.request.urlopen(request))["message"], flush=True)
        except urllib.error.HTTPError as refused:
            print(decision["approval"], json.load(refused)["error"]["message"], flush=True)
