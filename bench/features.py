"""Feature caching of `kadapter train task` beside `kadapter run` on the same texts: `features.py [ROUNDS]`.

Both go through the backbone and two adapters. The time of the features is that of a run that computes them less that of one that finds
them kept; the time of the answers is that of all texts less that of one. In turns, medians, Markdown to stdout.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from project import KADAPTER, PROJECT, TARGET, WORDS

TEXTS = 2000

ADAPTERS = """
[adapters]
factual = { package = "kadapter/factual", version = "^2" }
linguistic = { package = "kadapter/linguistic", version = "^2" }
"""

MANIFEST = PROJECT + ADAPTERS + """
[tasks.relation]
package = "kadapter/semeval-relation"
version = "^2"
stack = ["factual", "linguistic"]
"""

RECIPE = PROJECT + ADAPTERS + """
[package]
name = "bench/relation"
license = "MIT"
[task]
kind = "relation-classification"
options = { dense = false }
train = "train.jsonl"
[training]
solver = "ridge"
[[variants]]
stack = ["factual", "linguistic"]
fusion = "blocks"
"""


def texts(count, seed):
    draw = random.Random(seed)
    for _ in range(count):
        words = draw.choices(WORDS, k=8 + int(draw.expovariate(1 / 14)))
        first, second = sorted(draw.sample(range(len(words)), 2))
        words[first], words[second] = f"<e1>{words[first]}</e1>", f"<e2>{words[second]}</e2>"
        yield " ".join(words)


def seconds(*words, cwd, home):
    start = time.perf_counter()
    subprocess.run([KADAPTER, *words], cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, "KADAPTER_HOME": str(home)})
    return time.perf_counter() - start


def main(rounds):
    with tempfile.TemporaryDirectory(dir=TARGET) as folder:
        folder = Path(folder)
        home = folder / "home"
        shutil.copytree(TARGET / "home", home, ignore=shutil.ignore_patterns("cache"))
        lines = list(texts(TEXTS, 1))
        (folder / "kadapter.toml").write_text(MANIFEST)
        (folder / "task.toml").write_text(RECIPE)
        (folder / "train.jsonl").write_text(
            "".join(json.dumps({"text": text, "label": "ab"[place % 2]}) + "\n" for place, text in enumerate(lines))
        )
        (folder / "all.txt").write_text("\n".join(lines) + "\n")
        (folder / "one.txt").write_text(lines[0] + "\n")
        train = ("train", "task", "task.toml", "--quiet", "--out")
        found = []
        for place in range(rounds + 1):
            shutil.rmtree(home / "cache", ignore_errors=True)
            cold, warm = (seconds(*train, f"package-{kind}-{place}", cwd=folder, home=home) for kind in ("cold", "warm"))
            every, one = (seconds("run", "relation", "--input", name, "--json", cwd=folder, home=home) for name in ("all.txt", "one.txt"))
            found.append((cold - warm, every - one))
        features, answers = zip(*found[1:])
        ratio = statistics.median(b / a for a, b in found[1:])
        print("| `run`, texts per second | features, texts per second | features / `run` |\n| ---: | ---: | ---: |")
        print(f"| {TEXTS / statistics.median(answers):.0f} | {TEXTS / statistics.median(features):.0f} | {ratio:.2f} |")


main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
