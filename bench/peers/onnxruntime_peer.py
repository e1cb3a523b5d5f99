"""ONNX Runtime: the model as a graph, optimised by ONNX Runtime itself.

`onnxruntime_peer.py FOLDER THREADS` builds `model.onnx` in the folder if it is not there.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from model import ADAPTER_LAYERS, ADAPTERS, EPSILON, HEADS, HIDDEN, LAYERS, SIZE_HEADS, TAPS, load
from protocol import serve


class Graph:
    def __init__(self, weights):
        self.weights, self.nodes, self.initializers = weights, [], []

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def op(self, kind, *inputs, **attributes):
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def linear(self, name, x):
        weight = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.op("Add", self.op("MatMul", x, weight), bias)

    def norm(self, name, x):
        parts = [self.constant(f"{name}.{part}", self.weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        return self.op("LayerNormalization", x, *parts, axis=-1, epsilon=EPSILON)

    def attention(self, name, x, heads):
        width = self.weights[f"{name}.query.weight"].shape[0] // heads
        apart = self.constant(f"{name}.apart", np.array([0, 0, heads, width], dtype=np.int64))
        together = self.constant(f"{name}.together", np.array([0, 0, heads * width], dtype=np.int64))
        scale = self.constant(f"{name}.scale", np.array(width**-0.5, dtype=np.float32))

        def split(part, perm):
            return self.op("Transpose", self.op("Reshape", self.linear(f"{name}.{part}", x), apart), perm=perm)

        scores = self.op("MatMul", split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]))
        weights = self.op("Softmax", self.op("Mul", scores, scale), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", weights, split("value", [0, 2, 1, 3])), perm=[0, 2, 1, 3])
        return self.op("Reshape", mixed, together)

    def layer(self, name, x, heads):
        mixed = self.linear(f"{name}.attention.output.dense", self.attention(f"{name}.attention.self", x, heads))
        x = self.norm(f"{name}.attention.output.LayerNorm", self.op("Add", mixed, x))
        inner = self.op("Gelu", self.linear(f"{name}.intermediate.dense", x))
        outer = self.linear(f"{name}.output.dense", inner)
        return self.norm(f"{name}.output.LayerNorm", self.op("Add", outer, x))

    def adapter(self, name, taps):
        state = None
        for index, tap in enumerate(taps):
            part = f"{name}.adapter.{index}"
            x = tap if state is None else self.op("Add", tap, state)
            inner = self.linear(f"{part}.down_project", x)
            for layer in range(ADAPTER_LAYERS):
                inner = self.layer(f"{part}.encoder.layer.{layer}", inner, SIZE_HEADS)
            state = self.op("Add", x, self.linear(f"{part}.up_project", inner))
        return state


def build(folder):
    graph = Graph(load(folder, load_file))
    states = ["x"]
    for index in range(LAYERS):
        states.append(graph.layer(f"backbone.encoder.layer.{index}", states[-1], HEADS))
    outputs = [states[-1]] + [graph.adapter(name, [states[tap] for tap in TAPS]) for name in ADAPTERS]

    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "tokens", HIDDEN])

    model = helper.make_model(
        helper.make_graph(graph.nodes, "roberta", [value("x")], [value(name) for name in outputs], graph.initializers),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.onnx.data")


if __name__ == "__main__":
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    if not (folder / "model.onnx").exists():
        build(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    serve(folder, lambda x: session.run(None, {"x": x}))
