"""Lays out Triton's model repository: each embedder twice, once for questions and once for bulk work.

minilm-int8         online: small batches, no waiting, normal priority
minilm-int8-bulk    bulk: large batches, lower priority
minilm-fp32[-bulk]  the exact weights; loaded on demand
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
    max_batch_size: int
    queue_delay_us: int
    nice: int
    at_start: bool


MODELS = (
    Model("minilm-int8", "int8", max_batch_size=64, queue_delay_us=0, nice=0, at_start=True),
    Model("minilm-int8-bulk", "int8", max_batch_size=256, queue_delay_us=0, nice=10, at_start=True),
    Model("minilm-fp32", "fp32", max_batch_size=64, queue_delay_us=0, nice=0, at_start=False),
    Model("minilm-fp32-bulk", "fp32", max_batch_size=256, queue_delay_us=0, nice=10, at_start=False),
)


def lay_out(
    repository: Path,
    weights: Path,
    *,
    threads: int,
    kind: str = "KIND_CPU",
    providers: str = "CPUExecutionProvider",
) -> None:
    """Writes the repository anew.

    Args:
        repository: folder to write; models of these names are replaced.
        weights: folder with `int8/` and `fp32/`, each `model.onnx` and `tokenizer.json`; hard-linked where possible.
        threads: threads of each instance; 0 takes every core.
        kind: `KIND_CPU` or `KIND_GPU`.
        providers: execution providers of ONNX Runtime, separated by commas.
    """
    for model in MODELS:
        # Its contents, not the folder itself: that may be a mounted volume.
        shutil.rmtree(repository / model.name, ignore_errors=True)
        version = repository / model.name / "1"
        version.mkdir(parents=True)
        shutil.copy(SOURCE / "1" / "model.py", version)
        for file in (weights / model.weights).iterdir():
            link_or_copy(file, version / file.name)
        values = {
            "name": model.name,
            "max_batch_size": model.max_batch_size,
            "queue_delay_us": model.queue_delay_us,
            "nice": model.nice,
            "kind": kind,
            "instances": 1,
            "providers": providers,
            "threads": threads or os.cpu_count() or 1,
            "max_tokens": MAX_TOKENS,
            "sub_batch": 16,
        }
        config = (SOURCE / "config.pbtxt").read_text()
        for key, value in values.items():
            config = config.replace(f"${{{key}}}", str(value))
        (repository / model.name / "config.pbtxt").write_text(config)


def link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy(source, target)
