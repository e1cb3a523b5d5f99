"""PyTorch, eager, float32: the model as modules, attention by `scaled_dot_product_attention`.

`pytorch_peer.py FOLDER THREADS`
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from model import ADAPTER_LAYERS, ADAPTERS, EPSILON, HEADS, LAYERS, SIZE_HEADS, TAPS, load
from protocol import serve


class Model:
    def __init__(self, weights):
        self.weights = weights

    def linear(self, name, x):
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def norm(self, name, x):
        weight = self.weights[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, self.weights[f"{name}.bias"], EPSILON)

    def attention(self, name, x, heads):
        def split(part):
            return self.linear(f"{name}.{part}", x).unflatten(-1, (heads, -1)).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(split("query"), split("key"), split("value"))
        return mixed.transpose(1, 2).flatten(2)

    def layer(self, name, x, heads):
        mixed = self.linear(f"{name}.attention.output.dense", self.attention(f"{name}.attention.self", x, heads))
        x = self.norm(f"{name}.attention.output.LayerNorm", mixed + x)
        inner = F.gelu(self.linear(f"{name}.intermediate.dense", x))
        return self.norm(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", inner) + x)

    def adapter(self, name, taps):
        state = torch.zeros(())
        for index, tap in enumerate(taps):
            part = f"{name}.adapter.{index}"
            x = tap + state
            inner = self.linear(f"{part}.down_project", x)
            for layer in range(ADAPTER_LAYERS):
                inner = self.layer(f"{part}.encoder.layer.{layer}", inner, SIZE_HEADS)
            state = x + self.linear(f"{part}.up_project", inner)
        return state

    @torch.inference_mode()
    def __call__(self, x):
        states = [torch.from_numpy(x)]
        for index in range(LAYERS):
            states.append(self.layer(f"backbone.encoder.layer.{index}", states[-1], HEADS))
        outputs = [states[-1]] + [self.adapter(name, [states[tap] for tap in TAPS]) for name in ADAPTERS]
        return [output.numpy() for output in outputs]


if __name__ == "__main__":
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    serve(folder, Model(load(folder, load_file)))
