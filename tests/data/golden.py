"""Golden outputs of the seed's weights, computed by other code than this project's: PyTorch, one text at a time, f32.

    python tests/data/golden.py registry/seed tests/data/golden.jsonl > new.jsonl

Texts, token ids and marker positions are taken from the given file; logits, the predicted label and, for the first text of each
task, the first eight values of the states at the first marker are computed. Needs torch, safetensors and numpy.
"""

import json
import sys
import tomllib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

# Of each task in the file its package, and the stack whose head is computed.
TASKS = {
    "semeval": ("semeval-relation", ["factual", "linguistic"]),
    "fewrel": ("fewrel-relation", ["factual", "linguistic"]),
    "gum": ("gum-entities", ["supersense"]),
}


class Registry:
    def __init__(self, folder):
        self.folder = Path(folder)

    def release(self, name):
        """The paths of the files of the newest release, by their roles and by their names."""
        newest = sorted((self.folder / "index" / "kadapter" / name).glob("*.json"))[-1]
        files = json.loads(newest.read_text())["files"]
        blob = lambda digest: self.folder / "blobs" / "sha256" / digest[:2] / digest
        paths = [(file, blob(file["sha256"].removeprefix("sha256:"))) for file in files]
        return {key: path for file, path in paths for key in (file["role"], file["path"])}


class Weights:
    def __init__(self, path):
        self.tensors = {name: tensor.float() for name, tensor in load_file(path).items()}

    def linear(self, name, x):
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def norm(self, name, x, epsilon):
        weight = self.tensors[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, self.tensors[f"{name}.bias"], epsilon)

    def layer(self, name, x, heads, epsilon):
        """A post-norm transformer layer over `x [tokens, width]`."""
        split = lambda part: self.linear(f"{name}.attention.self.{part}", x).unflatten(-1, (heads, -1)).transpose(0, 1)
        query, key, value = map(split, ("query", "key", "value"))
        shares = (query @ key.transpose(1, 2) / query.shape[-1] ** 0.5).softmax(-1)
        mixed = self.linear(f"{name}.attention.output.dense", (shares @ value).transpose(0, 1).flatten(1))
        x = self.norm(f"{name}.attention.output.LayerNorm", mixed + x, epsilon)
        wide = F.gelu(self.linear(f"{name}.intermediate.dense", x))
        return self.norm(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", wide) + x, epsilon)


class Backbone:
    def __init__(self, release):
        self.config, self.weights = json.loads(release["config"].read_text()), Weights(release["weights"])

    def states(self, ids):
        """The hidden states 0 (embeddings) to the last, `[tokens, width]` each."""
        table = lambda name: self.weights.tensors[f"embeddings.{name}_embeddings.weight"]
        positions = torch.arange(len(ids)) + self.config["pad_token_id"] + 1
        x = table("word")[ids] + table("position")[positions] + table("token_type")[0]
        epsilon = self.config["layer_norm_eps"]
        states = [self.weights.norm("embeddings.LayerNorm", x, epsilon)]
        for layer in range(self.config["num_hidden_layers"]):
            heads = self.config["num_attention_heads"]
            states.append(self.weights.layer(f"encoder.layer.{layer}", states[-1], heads, epsilon))
        return states


class Adapter:
    """Section 3.1 of the paper, with the sums of the official code."""

    def __init__(self, release):
        manifest = tomllib.loads(release["manifest"].read_text())["adapter"]
        self.taps, self.config, self.weights = manifest["taps"], manifest["config"], Weights(release["weights"])

    def features(self, states):
        x = added = 0
        for place, tap in enumerate(self.taps):
            x = x + states[tap]
            inner = self.weights.linear(f"adapter.{place}.down_project", x)
            for layer in range(self.config.get("layers", 2)):
                name = f"adapter.{place}.encoder.layer.{layer}"
                inner = self.weights.layer(name, inner, self.config["heads"], self.config.get("layer_norm_eps", 1e-5))
            up = self.weights.linear(f"adapter.{place}.up_project", inner)
            x, added = x + up, added + up
        return x if self.config.get("residual", True) else added


class Task:
    """A head over the rows of all markers, on blocks: every source evened out column by column, side by side."""

    def __init__(self, release, stack):
        self.stack = stack
        manifest = tomllib.loads(release["manifest"].read_text())["task"]
        variant = next(variant for variant in manifest["variants"] if variant["stack"] == stack)
        assert variant["fusion"] == "blocks" and not manifest["options"]["dense"]
        self.labels, self.taps, self.weights = manifest["labels"], variant["taps"], Weights(release[variant["weights"]])

    def logits(self, states, features, rows):
        sources = [("states.last", states[-1])] + [(f"states.{tap}", states[tap]) for tap in self.taps]
        sources += [(name, features[name]) for name in self.stack]
        even = lambda name, x: x * self.weights.tensors[f"fusion.{name}.weight"] + self.weights.tensors[f"fusion.{name}.bias"]
        fused = torch.cat([even(name, x) for name, x in sources], -1)
        return self.weights.linear("head.out", fused[rows].flatten())


@torch.inference_mode()
def main(registry, golden):
    registry = Registry(registry)
    backbone = Backbone(registry.release("minilm-roberta"))
    adapters = {name: Adapter(registry.release(name)) for _, stack in TASKS.values() for name in stack}
    tasks = {name: Task(registry.release(package), stack) for name, (package, stack) in TASKS.items()}
    for line in map(json.loads, Path(golden).read_text().splitlines()):
        task, rows = tasks[line["task"]], list(line["positions"].values())
        states = backbone.states(line["input_ids"])
        features = {name: adapters[name].features(states) for name in task.stack}
        logits = task.logits(states, features, rows)
        line["logits"], line["predicted"] = logits.tolist(), task.labels[logits.argmax()]
        if "first_8" in line:
            line["first_8"] = {
                name: values[rows[0], :8].tolist() for name, values in {"x": states[-1], **features}.items()
            }
        print(json.dumps(line, ensure_ascii=False))


main(*sys.argv[1:])
