"""What an ONNX embedding model takes and gives, as JSON: `python describe.py MODEL.onnx`.

Runs as a program of its own in the environment of Triton's Python models.
"""

from __future__ import annotations

import json
import sys

import onnxruntime


def main(path: str) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    print(json.dumps({"inputs": [given.name for given in session.get_inputs()],
                      "output": list(session.get_outputs()[0].shape)}))


if __name__ == "__main__":
    main(sys.argv[1])
