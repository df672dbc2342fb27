"""`python -m infra.local.models FOLDER`: Triton's model repository, built once, for a Triton that runs elsewhere.

`WEIR_EMBEDDER_DEVICE` is `cpu` (the default) or `cuda`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from infra.local.models import repository
from infra.local.server import Place
from infra.local.triton import Triton
from weir.errors import SettingsError
from weir.settings import load

DEVICES = {"cpu": repository.CPU, "cuda": repository.CUDA}


def main(folder: Path) -> None:
    device = os.environ.get("WEIR_EMBEDDER_DEVICE") or "cpu"
    if device not in DEVICES:
        raise SettingsError(f"WEIR_EMBEDDER_DEVICE is {device!r}; it can be {' or '.join(DEVICES)}")
    with tempfile.TemporaryDirectory() as built:
        settings = load().model_copy(update={"servers_dir": Path(built)})
        weights = Triton(Place(settings, java_home=Path())).weights()
        repository.lay_out(folder, weights, threads=settings.triton_threads, device=DEVICES[device])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
