"""Adds a cross-encoder to Triton's repository, which reads the best passages again where a recipe asks for it.

Loaded by whoever needs it first, as the embedders that are added (weir/retrieval/rerank.py).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from infra.local.models import repository
from infra.local.models.add import described, fetch
from infra.local.models.repository import Device
from infra.local.server import Place
from infra.local.triton import Triton
from weir.errors import BadRequest, Conflict
from weir.settings import Settings

SOURCE = repository.SOURCE.parent / "reranker"


def add_reranker(settings: Settings, name: str, source: str, *, max_tokens: int = 512,
                 device: Device = repository.CPU) -> Path:
    """Lays a cross-encoder out and returns the repository.

    Args:
        source: a folder, or the address of one, with `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`.
        max_tokens: question and passage together; the passage is cut.

    Raises:
        BadRequest: the name cannot be one, or the model is no cross-encoder.
        Conflict: an embedder has the name.
        Unavailable: the files cannot be fetched or read.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", name):
        raise BadRequest(f"{name!r} cannot be a model's name: small letters, digits, dots and dashes.")
    triton = Triton(Place(settings, java_home=Path()))
    there = triton.models / name / "config.pbtxt"
    if there.exists() and '"SCORE"' not in there.read_text():
        raise Conflict(f"there is an embedding model {name} already: take another name.")
    with tempfile.TemporaryDirectory() as folder:
        fetch(source, Path(folder))
        shape = described(triton, Path(folder) / "model.onnx")["output"]
        if len(shape) != 2 or shape[-1] not in (1, 2):
            raise BadRequest(f"the model gives {shape}; a cross-encoder gives one or two numbers a pair.")
        target = triton.models / name
        shutil.rmtree(target, ignore_errors=True)
        (target / "1").mkdir(parents=True)
        shutil.copy(SOURCE / "1" / "model.py", target / "1")
        for file in ("model.onnx", "tokenizer.json"):
            repository.link_or_copy(Path(folder) / file, target / "1" / file)
        (target / "config.pbtxt").write_text(_config(name, settings.triton_threads or os.cpu_count() or 1, max_tokens,
                                                     device))
    return triton.models


def _config(name: str, threads: int, max_tokens: int, device: Device) -> str:
    text = (SOURCE / "config.pbtxt").read_text()
    for key, value in {"name": name, "kind": device.kind, "providers": device.providers, "threads": threads,
                       "max_tokens": max_tokens}.items():
        text = text.replace(f"${{{key}}}", str(value))
    return text
