"""A cross-encoder as a Python model of Triton: question and passage in, one score out.

`model.onnx` (inputs `input_ids`, `attention_mask`, perhaps `token_type_ids`; output one logit a pair, or two of which
the second says yes) and `tokenizer.json` lie beside this file. Parameters come from `config.pbtxt`.
"""

import json
import os
import sys
from pathlib import Path

# The backend's process ignores PYTHONPATH. Where the packages are not part of its Python, this folder holds them.
sys.path[:0] = filter(None, [os.environ.get("WEIR_MODEL_PACKAGES")])

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import triton_python_backend_utils as triton  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        parameters = {name: value.get("string_value", "") for name, value in config["parameters"].items()}
        folder = Path(args["model_repository"]) / args["model_version"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # The question stays whole: without it a passage cannot be judged.
        self.tokenizer.enable_truncation(int(parameters["max_tokens"]), strategy="only_second")
        self.tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["threads"])
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [
            (name, {"device_id": args["model_instance_device_id"]} if name == "CUDAExecutionProvider" else {})
            for name in parameters["providers"].split(",")
        ]
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=providers)
        self.inputs = {given.name for given in self.session.get_inputs()}
        self.output = self.session.get_outputs()[0].name

    def execute(self, requests):
        """Answers each request; one with a bad text gets an error, the others their scores."""
        return [self._response(request) for request in requests]

    def _response(self, request):
        try:
            questions, texts = (
                [value.decode("utf-8") for value in triton.get_input_tensor_by_name(request, name).as_numpy()[:, 0]]
                for name in ("QUESTION", "TEXT")
            )
            scores = np.array([self.score(q, t) for q, t in zip(questions, texts, strict=True)], np.float32)
        except Exception as error:  # whatever is wrong with one request is no reason to lose the model
            return triton.InferenceResponse(error=triton.TritonError(f"cannot score: {error}"))
        return triton.InferenceResponse([triton.Tensor("SCORE", scores.reshape(-1, 1))])

    def score(self, question, text):
        """One pair at a time: padding costs more on a processor than a batch saves, as with the embedders."""
        pair = self.tokenizer.encode(question, text)
        inputs = {
            "input_ids": np.array([pair.ids], np.int64),
            "attention_mask": np.ones((1, len(pair.ids)), np.int64),
            "token_type_ids": np.array([pair.type_ids], np.int64),
        }
        logits = self.session.run([self.output], {name: inputs[name] for name in self.inputs})[0].reshape(-1)
        return logits[0] if len(logits) == 1 else logits[1] - logits[0]
