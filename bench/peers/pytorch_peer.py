"""PyTorch, eager: the model as modules, attention by `scaled_dot_product_attention`.

`pytorch_peer.py FOLDER THREADS [DEVICE [DTYPE]]`: float32 on the CPU, or on `cuda` and in `bfloat16` or `float16` there. In float32
nothing is reduced to TF32, which is PyTorch's default.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from model import ADAPTER_LAYERS, ADAPTERS, EPSILON, HEADS, LAYERS, SIZE_HEADS, TAPS, load
from protocol import serve


class Model:
    def __init__(self, weights, device="cpu", dtype=torch.float32):
        self.weights = {name: value.to(device, dtype) for name, value in weights.items()}
        self.device, self.dtype = device, dtype

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
        state = torch.zeros((), device=self.device, dtype=self.dtype)
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
        states = [torch.from_numpy(x).to(self.device).to(self.dtype)]
        for index in range(LAYERS):
            states.append(self.layer(f"backbone.encoder.layer.{index}", states[-1], HEADS))
        outputs = [states[-1]] + [self.adapter(name, [states[tap] for tap in TAPS]) for name in ADAPTERS]
        return [output.float().cpu().numpy() for output in outputs]


if __name__ == "__main__":
    folder, threads, *place = sys.argv[1:]
    folder = Path(folder)
    device, dtype = [*place, *("cpu", "float32")[len(place) :]]
    torch.set_num_threads(int(threads))
    serve(folder, Model(load(folder, load_file), device, getattr(torch, dtype)))
