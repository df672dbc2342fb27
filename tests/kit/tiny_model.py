"""A tiny ONNX embedding model: a table of vectors, one a word, and a tokenizer of whole words.

    python tiny_model.py FOLDER SEED

Runs with the packages of Triton's Python models. Gives a vector a token.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

WORDS = ("[UNK]", "the", "a", "of", "in", "pump", "moves", "litres", "leave", "ends", "march", "invoice", "is", "paid",
         "tide", "water", "heron", "weir", "stands", "when", "where", "which", "model", "was", "index", "query", "text")
DIMENSION = 48


def main(folder: Path, seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=(len(WORDS), DIMENSION)).astype(np.float32)
    tokens = ["batch", "tokens"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])], "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, tokens) for name in ("input_ids",)],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*tokens, DIMENSION])],
        [numpy_helper.from_array(table, "table")])
    (folder / "onnx").mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
              str(folder / "onnx" / "model.onnx"))
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
