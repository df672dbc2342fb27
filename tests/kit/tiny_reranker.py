"""A tiny cross-encoder as ONNX: the score of a pair is what the words of its passage are worth, the question's nothing.

    python tiny_reranker.py FOLDER WORD=WORTH ...

Runs with the packages of Triton's Python models.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers


def main(folder: Path, worth: dict[str, float]) -> None:
    words = ["[UNK]", *worth]
    table = np.array([0.0, *worth.values()], np.float32)
    tokens = ["batch", "tokens"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["worth"]),
         helper.make_node("Cast", ["token_type_ids"], ["of_passage"], to=TensorProto.FLOAT),
         helper.make_node("Mul", ["worth", "of_passage"], ["counted"]),
         helper.make_node("ReduceSum", ["counted", "axis"], ["logits"], keepdims=1)], "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in ("input_ids", "token_type_ids")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], np.int64), "axis")])
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
              str(folder / "model.onnx"))
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), {word: float(worth) for word, _, worth in (each.partition("=") for each in sys.argv[2:])})
