"""Publishes one file to Weir with nothing but Kafka and Avro: `python examples/publish.py FILE [WORKSPACE]`."""

import io
import mimetypes
import os
import sys
from pathlib import Path

import fastavro
from confluent_kafka import Producer

file, workspace = Path(sys.argv[1]), (sys.argv[2:] or ["sample"])[0]
broker, topic = os.environ.get("WEIR_KAFKA", "127.0.0.1:18401"), os.environ.get("WEIR_PREFIX", "") + "documents"
schema = fastavro.schema.load_schema(Path(__file__).parents[1] / "schemas/avro/DocumentPublished.avsc")
canonical = fastavro.schema.to_parsing_canonical_form(schema)
value = io.BytesIO()
value.write(b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")))
fastavro.schemaless_writer(value, schema, {
    "workspace": workspace, "document": file.name, "title": file.stem, "content": file.read_bytes(),
    "media_type": mimetypes.guess_type(file)[0] or "text/markdown", "groups": ["everyone"]})

producer = Producer({"bootstrap.servers": broker, "partitioner": "murmur2_random", "acks": "all",
                     "enable.idempotence": True, "linger.ms": 0})
producer.produce(topic, value.getvalue(), f"{workspace}/{file.name}", on_delivery=lambda error, record: print(
    error or f"{file.name} is version {record.offset()} in partition {record.partition()}"))
producer.flush()
