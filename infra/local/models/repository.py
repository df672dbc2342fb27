"""Lays out Triton's model repository: each embedder twice, once for questions and once for bulk work.

minilm-int8         online: small batches, no waiting, normal priority
minilm-int8-bulk    bulk: large batches, lower priority
minilm-fp32[-bulk]  the exact weights; loaded on demand

`add.py` adds more of them.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "triton_models" / "embedder"
MAX_TOKENS = 256
"""The window that all-MiniLM-L6-v2 was trained and published with, in tokens."""


@dataclass(frozen=True)
class Model:
    """One model of the repository. `weights` names the folder under the built weights."""

    name: str
    weights: str
    bulk: bool
    at_start: bool
    dimension: int = 384
    max_tokens: int = MAX_TOKENS
    pooling: str = ""
    """`cls` or `mean` where the weights give a vector a token; empty where they give one a text."""
    prefixes: tuple[str, str] = ("", "")
    """What the model wants in front of a question, and of a document."""


MODELS = (
    Model("minilm-int8", "int8", bulk=False, at_start=True),
    Model("minilm-int8-bulk", "int8", bulk=True, at_start=True),
    Model("minilm-fp32", "fp32", bulk=False, at_start=False),
    Model("minilm-fp32-bulk", "fp32", bulk=True, at_start=False),
)


@dataclass(frozen=True)
class Device:
    """Where the models run."""

    kind: str
    providers: str
    """Execution providers of ONNX Runtime, separated by commas."""
    sub_batch: int
    """Texts that run together; why one on a processor, `triton_models/embedder/1/model.py` says."""


CPU = Device("KIND_CPU", "CPUExecutionProvider", sub_batch=1)
CUDA = Device("KIND_GPU", "CUDAExecutionProvider,CPUExecutionProvider", sub_batch=64)


def lay_out(repository: Path, weights: Path, *, threads: int, device: Device = CPU) -> None:
    """Writes the repository anew.

    Args:
        repository: folder to write; models of these names are replaced.
        weights: folder with `int8/` and `fp32/`, each `model.onnx` and `tokenizer.json`; hard-linked where possible.
        threads: threads of each model; 0 takes every core. A question has them all for its one text; bulk work has as
            many texts at a time, on one thread each.
    """
    for model in MODELS:
        lay_out_one(repository, weights, model, threads=threads, device=device)


def lay_out_one(repository: Path, weights: Path, model: Model, *, threads: int, device: Device = CPU) -> None:
    """Writes one model anew."""
    # Its contents, not the folder itself: that may be a mounted volume.
    shutil.rmtree(repository / model.name, ignore_errors=True)
    version = repository / model.name / "1"
    version.mkdir(parents=True)
    shutil.copy(SOURCE / "1" / "model.py", version)
    for file in (weights / model.weights).iterdir():
        link_or_copy(file, version / file.name)
    (repository / model.name / "config.pbtxt").write_text(config(model, threads or os.cpu_count() or 1, device))


def config(model: Model, threads: int, device: Device) -> str:
    values = {
        "name": model.name,
        "kind": device.kind,
        "providers": device.providers,
        "max_batch_size": 256 if model.bulk else 64,
        # A question never waits for company, bulk work brings its own.
        "queue_delay_us": 0,
        "instances": 1,
        "nice": 19 if model.bulk else 0,
        "threads_a_text": 1 if model.bulk else threads,
        "texts_at_a_time": threads if model.bulk else 1,
        "sub_batch": device.sub_batch,
        "max_tokens": model.max_tokens,
        "dimension": model.dimension,
        "pooling": model.pooling,
        "prefix": quoted(model.prefixes[1 if model.bulk else 0]),
        "prefixes": quoted("\n".join(model.prefixes) if any(model.prefixes) else ""),
    }
    text = (SOURCE / "config.pbtxt").read_text()
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", str(value))
    return text


def quoted(text: str) -> str:
    """As it stands between the quotes of a text in protobuf's text format."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy(source, target)
