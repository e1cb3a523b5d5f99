"""The model that every engine runs: RoBERTa-large and two K-Adapters, random weights from a fixed seed.

Input is what comes after the embeddings, `[batch, tokens, 1024]`; output is the last hidden state and both adapters' features.
Run as a script it writes `backbone.safetensors` and one file per adapter (1.6 GB together) and `input.f32` into the folder that is
named; their names are those of kadapter's packages, so that our peer loads them as it loads any package.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HIDDEN, HEADS, INNER, LAYERS = 1024, 16, 4096, 24
SIZE, SIZE_HEADS, SIZE_INNER = 768, 12, 3072
TAPS, ADAPTER_LAYERS, ADAPTERS = (0, 11, 22), 2, ("factual", "linguistic")
EPSILON = 1e-5
MOST_TOKENS = 32 * 128


def linear(name, rows, columns):
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def norm(name, width):
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def layer(name, width, inner):
    for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        yield from linear(f"{name}.{part}", width, width)
    yield from norm(f"{name}.attention.output.LayerNorm", width)
    yield from linear(f"{name}.intermediate.dense", inner, width)
    yield from linear(f"{name}.output.dense", width, inner)
    yield from norm(f"{name}.output.LayerNorm", width)


def tensors():
    """Names and shapes of all weights, in the order of their use."""
    for index in range(LAYERS):
        yield from layer(f"backbone.encoder.layer.{index}", HIDDEN, INNER)
    for adapter in ADAPTERS:
        for tap in range(len(TAPS)):
            yield from linear(f"{adapter}.adapter.{tap}.down_project", SIZE, HIDDEN)
            for index in range(ADAPTER_LAYERS):
                yield from layer(f"{adapter}.adapter.{tap}.encoder.layer.{index}", SIZE, SIZE_INNER)
            yield from linear(f"{adapter}.adapter.{tap}.up_project", HIDDEN, SIZE)


def weights(seed=2002_01808):
    random = np.random.default_rng(seed)
    values = {}
    for name, shape in tensors():
        value = random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
        if name.endswith("LayerNorm.weight"):
            value += 1
        values[name] = value
    return values


def embeddings():
    """What a backbone package must have and no engine here reads: the input comes after it."""
    tables = {"word_embeddings": 8, "position_embeddings": 514, "token_type_embeddings": 1}
    values = {f"embeddings.{name}.weight": np.zeros((rows, HIDDEN), dtype=np.float32) for name, rows in tables.items()}
    values["embeddings.LayerNorm.weight"] = np.ones(HIDDEN, dtype=np.float32)
    values["embeddings.LayerNorm.bias"] = np.zeros(HIDDEN, dtype=np.float32)
    return values


def parts():
    return ("backbone", *ADAPTERS)


def load(folder, load_file):
    """All weights by their full names, read with the framework's own `load_file`."""
    return {f"{part}.{name}": value for part in parts() for name, value in load_file(folder / f"{part}.safetensors").items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    values = weights()
    for part in parts():
        own = {name.removeprefix(f"{part}."): value for name, value in values.items() if name.startswith(f"{part}.")}
        save_file(own | (embeddings() if part == "backbone" else {}), folder / f"{part}.safetensors")
    np.random.default_rng(1).standard_normal((MOST_TOKENS, HIDDEN), dtype=np.float32).tofile(folder / "input.f32")
