"""The embedder as a Python model of Triton: texts in, unit vectors and the model's revision out.

`model.onnx` (inputs `input_ids`, `attention_mask`, perhaps `token_type_ids`; output one vector a text, or one a token
where `pooling` says how they become one) and `tokenizer.json` lie beside this file. Parameters come from
`config.pbtxt`.
"""

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
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
        # Bulk instances give way to the online ones: a question does not wait for a million passages.
        os.nice(int(parameters["nice"]))

        folder = Path(args["model_repository"]) / args["model_version"]
        self.pooling, self.prefix = parameters["pooling"], parameters["prefix"]
        self.revision = revision(folder, self.pooling, parameters["prefixes"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(int(parameters["max_tokens"]))
        self.tokenizer.no_padding()

        self.sub_batch = int(parameters["sub_batch"])
        self.pool = ThreadPoolExecutor(int(parameters["texts_at_a_time"]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["threads_a_text"])
        # Threads that spin while they wait would take a core from the other instances.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [
            (name, {"device_id": args["model_instance_device_id"]} if name == "CUDAExecutionProvider" else {})
            for name in parameters["providers"].split(",")
        ]
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=providers)
        self.inputs = {given.name for given in self.session.get_inputs()}
        self.output = self.session.get_outputs()[0].name
        self.dimension = int(config["output"][0]["dims"][0])

    def finalize(self):
        self.pool.shutdown()

    def execute(self, requests):
        """Answers all requests with one pass; a request with a bad text gets an error, the others their vectors."""
        texts_of = [self._texts(request) for request in requests]
        vectors = self.embed([text for texts in texts_of if isinstance(texts, list) for text in texts])
        responses, start = [], 0
        for texts in texts_of:
            if isinstance(texts, triton.TritonError):
                responses.append(triton.InferenceResponse(error=texts))
                continue
            end = start + len(texts)
            revisions = np.full((len(texts), 1), self.revision.encode(), dtype=object)
            outputs = [triton.Tensor("VECTOR", vectors[start:end]), triton.Tensor("REVISION", revisions)]
            responses.append(triton.InferenceResponse(outputs))
            start = end
        return responses

    @staticmethod
    def _texts(request):
        """The request's texts, or the error that tells what is wrong with them."""
        raw = triton.get_input_tensor_by_name(request, "TEXT").as_numpy()[:, 0]
        try:
            texts = [value.decode("utf-8") for value in raw]
        except UnicodeDecodeError as error:
            return triton.TritonError(f"TEXT is not UTF-8: {error}", triton.TritonError.INVALID_ARG)
        if not all(text.strip() for text in texts):
            return triton.TritonError("TEXT is empty", triton.TritonError.INVALID_ARG)
        return texts

    def embed(self, texts):
        """Vectors in the order of the texts, float32 of shape (len(texts), dimension).

        Texts of like length are run together, since a batch is padded to its longest. On a processor a batch is one
        text: an int8 model scales its activations by the largest of the batch, so only then is a text's vector the same
        whatever comes with it; and two texts on a thread each cost a third less than a batch of sixteen on two threads.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch([self.prefix + text for text in texts])]
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        parts = [order[start : start + self.sub_batch] for start in range(0, len(order), self.sub_batch)]
        made = self.pool.map(lambda part: self._run([tokens[i] for i in part]), parts)
        for part, rows in zip(parts, made, strict=True):
            vectors[part] = rows
        return vectors

    def _run(self, tokens):
        """Vectors of one batch of token lists, shortest first."""
        longest = len(tokens[-1])
        ids = np.zeros((len(tokens), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        found = self.session.run([self.output], {name: inputs[name] for name in self.inputs})[0]
        if not self.pooling:
            return found
        # One vector a token: that of the first one stands for the text, or the mean of all that are not padding.
        vectors = found[:, 0] if self.pooling == "cls" else (found * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def revision(folder, pooling, prefixes):
    """The first 16 hex digits of the SHA-256 over weights and tokenizer, and over how they are used where that is not
    all in the weights. Of a model for questions and the one for documents it is the same."""
    digest = hashlib.sha256()
    for name in ("model.onnx", "tokenizer.json"):
        digest.update((folder / name).read_bytes())
    digest.update(f"{pooling}{prefixes}".encode())
    return digest.hexdigest()[:16]
