"""Peak memory of training on JSON lines of several sizes: `memory.py [MB…]` (10, 100 and 1000 where none is given).

The adapter is trained for a few updates: what is measured is that reading and encoding do not hold the data. Of the head the features are
of one adapter; the data are a hundredth of that size, since every record goes through the backbone. Markdown to stdout.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from project import KADAPTER, PROJECT, TARGET, WORDS

ADAPTER = PROJECT + """
[adapter]
name = "bench/relations"
license = "MIT"
plugin = "kadapter-plugins/factual"
taps = [0, 3, 5]
[adapter.config]
size = 192
heads = 6
[objective]
labels = ["a", "b"]
[data]
train = ["train.jsonl"]
dev = ["dev.jsonl"]
[training]
max_steps = 20
"""

HEAD = PROJECT + """
[package]
name = "bench/relation"
license = "MIT"
[adapters]
factual = { package = "kadapter/factual", version = "^2" }
[task]
kind = "relation-classification"
options = { dense = false }
train = "train.jsonl"
[training]
epochs = 1
[[variants]]
stack = ["factual"]
"""


def write(path, size, seed):
    """Records of so many bytes together; gives their number."""
    draw = random.Random(seed)
    records = 0
    with open(path, "w") as file:
        while file.tell() < size:
            words = draw.choices(WORDS, k=8 + int(draw.expovariate(1 / 14)))
            first, second = sorted(draw.sample(range(len(words)), 2))
            words[first], words[second] = f"<e1>{words[first]}</e1>", f"<e2>{words[second]}</e2>"
            file.write(json.dumps({"text": " ".join(words), "label": draw.choice("ab")}) + "\n")
            records += 1
    return records


def peak(*words, cwd):
    """Peak memory in MB, and seconds."""
    start = time.perf_counter()
    process = subprocess.Popen([KADAPTER, *words], cwd=cwd, stdout=subprocess.DEVNULL,
                               env={**os.environ, "KADAPTER_HOME": str(TARGET / "home")})
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{words} failed with status {status}")
    return usage.ru_maxrss * 1024 / 1e6, time.perf_counter() - start


def measure(name, recipe, command, size):
    with tempfile.TemporaryDirectory(dir=TARGET) as folder:
        folder = Path(folder)
        (folder / "recipe.toml").write_text(recipe)
        records = write(folder / "train.jsonl", size, 1)
        write(folder / "dev.jsonl", 20_000, 2)
        memory, seconds = peak("train", command, "recipe.toml", "--quiet", cwd=folder)
        print(f"| {name} | {size / 1e6:g} | {records} | {memory:.0f} | {seconds:.0f} |", flush=True)


def main(sizes):
    print("| | data, MB | records | peak memory, MB | seconds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for size in sizes:
        measure("adapter", ADAPTER, "adapter", size)
    for size in sizes:
        measure("head", HEAD, "task", size // 100)


if __name__ == "__main__":
    main([int(float(size) * 1e6) for size in sys.argv[1:]] or [10_000_000, 100_000_000, 1_000_000_000])
