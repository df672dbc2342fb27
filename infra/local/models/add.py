"""Adds an embedding model to Triton's repository: an ONNX file and its tokenizer, from a folder or from a hub.

Such a model is not loaded when Triton starts: whoever needs it first asks for it (weir/retrieval/embed.py).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from infra.local.models import repository
from infra.local.models.repository import Device, Model
from infra.local.server import Place
from infra.local.triton import Triton
from weir.errors import BadRequest, Conflict, Unavailable
from weir.settings import Settings

WEIGHTS, TOKENIZER = ("onnx/model.onnx", "model.onnx"), "tokenizer.json"
"""Where a hub's folder of a model has them."""
DESCRIBE = Path(__file__).parent / "describe.py"
INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
POOLINGS = ("", "cls", "mean")
TIMEOUT = 60.0
DESCRIBE_TIMEOUT = 300.0


def add(settings: Settings, name: str, source: str, *, pooling: str = "", max_tokens: int = 512,
        prefixes: tuple[str, str] = ("", ""), device: Device = repository.CPU) -> Path:
    """Lays a model out twice, for questions and for bulk work, and returns the repository.

    Args:
        source: a folder, or the address of one, with `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`.
        pooling: how a vector a token becomes one a text, `cls` or `mean`; empty where the model does that itself.
        max_tokens: longer texts are cut.
        prefixes: what the model wants in front of a question, and of a document.

    Raises:
        BadRequest: the name cannot be one, or the model is of another kind.
        Conflict: the name is one of Weir's own, or another model has it.
        Unavailable: the files cannot be fetched or read.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", name) or name.endswith("-bulk"):
        raise BadRequest(f"{name!r} cannot be a model's name: small letters, digits, dots and dashes, and no -bulk.")
    triton = Triton(Place(settings, java_home=Path()))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        weights.mkdir()
        fetch(source, weights)
        dimension = _dimension(triton, weights / "model.onnx", pooling)
        if name in {model.name for model in repository.MODELS} or (
                (there := triton.models / name / "1" / "model.onnx").exists()
                and there.read_bytes() != (weights / "model.onnx").read_bytes()):
            raise Conflict(f"there is a model {name} already: an index may have been built with it. Take another name.")
        for bulk in (False, True):
            model = Model(f"{name}-bulk" if bulk else name, "weights", bulk=bulk, at_start=False, dimension=dimension,
                          max_tokens=max_tokens, pooling=pooling, prefixes=prefixes)
            repository.lay_out_one(triton.models, Path(folder), model, threads=settings.triton_threads, device=device)
    return triton.models


def fetch(source: str, into: Path) -> None:
    """Copies or downloads `model.onnx` and `tokenizer.json`. Raises Unavailable where one cannot be had."""
    places = [*(("model.onnx", place) for place in WEIGHTS), (TOKENIZER, TOKENIZER)]
    for name, place in places:
        if not (into / name).exists():
            _copy(source, place, into / name)
    for name in ("model.onnx", TOKENIZER):
        if not (into / name).exists():
            raise Unavailable(f"{source} holds no {name}: export the model in one file, with its fast tokenizer.")


def _copy(source: str, place: str, into: Path) -> None:
    """Copies or downloads one file; leaves nothing where it is not there."""
    if not source.startswith(("http://", "https://")):
        if (Path(source) / place).is_file():
            shutil.copy(Path(source) / place, into)
        return
    part = into.with_suffix(".part")
    try:
        with urllib.request.urlopen(f"{source.rstrip('/')}/{place}", timeout=TIMEOUT) as reply, part.open("wb") as file:
            shutil.copyfileobj(reply, file)
    except urllib.error.HTTPError as e:
        if e.code != 404:
            raise Unavailable(f"{source} does not give {place}: {e}") from e
        return
    except OSError as e:
        raise Unavailable(f"cannot fetch {place} from {source}: {e}") from e
    part.rename(into)


def _dimension(triton: Triton, weights: Path, pooling: str) -> int:
    """Length of the model's vectors.

    Raises:
        BadRequest: it is no embedding model, or nobody said how its vectors become one a text.
        Unavailable: it cannot be read.
    """
    if pooling not in POOLINGS:
        raise BadRequest(f"{pooling!r} is no pooling: cls or mean, as the model's card says.")
    found = described(triton, weights)
    *shape, dimension = found["output"]
    if not isinstance(dimension, int):
        raise BadRequest("the model does not say how long its vectors are: export it with a fixed last dimension.")
    if (len(shape) == 2) != bool(pooling):
        raise BadRequest("the model gives a vector a token: say how they become one a text, cls or mean, as its card "
                         "does." if len(shape) == 2 else "the model gives one vector a text: no pooling is to be done.")
    return dimension


def described(triton: Triton, weights: Path) -> dict[str, Any]:
    """What a model takes and gives.

    Raises:
        BadRequest: it does not read tokens.
        Unavailable: it cannot be read.
    """
    try:
        done = subprocess.run(
            [sys.executable, str(DESCRIBE), str(weights)], capture_output=True, text=True, check=False,
            timeout=DESCRIBE_TIMEOUT, env={"PYTHONPATH": str(triton.packages())})
    except subprocess.TimeoutExpired as e:
        raise Unavailable("the model could not be read in time.") from e
    if done.returncode != 0:
        raise Unavailable(f"the model cannot be read: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    if not set(found["inputs"]) <= INPUTS or "input_ids" not in found["inputs"]:
        raise BadRequest(f"the model wants {', '.join(found['inputs'])}; a model of texts {', '.join(sorted(INPUTS))}.")
    return found
