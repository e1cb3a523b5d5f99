"""Training steps of the linguistic recipe (batch 32, MiniLM, biaffine head) beside the same steps in PyTorch: `train.py [ROUNDS]`.

kadapter trains by its command, with the backbone in every step and with cached hidden states; PyTorch runs the backbone under
`no_grad` up to the last tap, pads a batch to its longest sentence and masks. Both see the same sentences in batches of equal sizes,
sorted into buckets by length; what is compared is real tokens per second, engines in turn. The first epoch of each warms up (buffers,
PyTorch's kernels for shapes that it has not met) and is not counted. Writes Markdown to stdout.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from project import KADAPTER, PROJECT, TARGET, WORDS

SENTENCES, EPOCHS, BATCH, TAPS = 1280, 3, 32, (0, 3, 5)
HIDDEN, SIZE, ARC, P = 384, 192, 500, 0.1

RECIPE = """
[adapter]
name = "bench/linguistic"
license = "MIT"
plugin = "kadapter-plugins/linguistic"
taps = [0, 3, 5]
config = {{ size = 192, heads = 6, ffn = 768, layers = 2 }}
[objective]
head = "biaffine"
inputs = "normalized"
{project}
[data]
train = ["train.conllu"]
dev = ["dev.conllu"]
[training]
epochs = {epochs}
batch = {batch}
learning_rate = 1e-4
save_every = 100000
[cache]
{cache}
"""


def sentences(count, seed):
    """Trees of single-token words, as long as those of UD EWT: 3 to 48 words, 16 on average."""
    draw = random.Random(seed)
    for _ in range(count):
        words = min(48, 3 + int(draw.expovariate(1 / 13)))
        yield [(draw.choice(WORDS), draw.randrange(words + 1)) for _ in range(words)]


def conllu(trees):
    lines = lambda tree: "".join(f"{n}\t{w}\t_\t_\t_\t_\t{h if h != n else 0}\tx\t_\t_\n" for n, (w, h) in enumerate(tree, 1))
    return "\n".join(map(lines, trees)) + "\n"


def kadapter(folder, name):
    """Tokens per second of the steps of a run after its first epoch, without evaluations and checkpoints."""
    subprocess.run([KADAPTER, "train", "adapter", f"{name}.toml", "--fresh", "--quiet"], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL, env={**os.environ, "KADAPTER_HOME": str(TARGET / "home")})
    steps = map(json.loads, (folder / "runs" / name / "log.jsonl").read_text().splitlines())
    # A line is about the steps since the one before; the mean over time is the harmonic one.
    warm = [step for step in steps if step["event"] == "step" and step["step"] > SENTENCES / BATCH]
    return statistics.harmonic_mean(step["tokens_per_second"] for step in warm)


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, x, mask):
        heads = [p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.query, self.key, self.value)]
        dropout = P if self.training else 0.0
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=mask, dropout_p=dropout).transpose(1, 2).flatten(2)
        x = self.norms[0](F.dropout(self.mixed(mixed), P, self.training) + x)
        return self.norms[1](F.dropout(self.narrow(F.gelu(self.wide(x))), P, self.training) + x)


class Tap(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(HIDDEN, SIZE), nn.Linear(SIZE, HIDDEN)
        self.layers = nn.ModuleList(Layer(SIZE, 6, 768) for _ in range(2))

    def forward(self, x, mask):
        z = self.down(x)
        for layer in self.layers:
            z = layer(z, mask)
        return x + self.up(z)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.positions, self.norm = nn.Embedding(30522, HIDDEN), nn.Embedding(514, HIDDEN), nn.LayerNorm(HIDDEN)
        self.backbone = nn.ModuleList(Layer(HIDDEN, 12, 1536) for _ in range(max(TAPS)))
        self.taps = nn.ModuleList(Tap() for _ in TAPS)
        self.dependent, self.head, self.biaffine = nn.Linear(HIDDEN, ARC), nn.Linear(HIDDEN, ARC), nn.Linear(ARC, ARC)
        for part in (self.embedding, self.positions, self.norm, self.backbone):
            part.requires_grad_(False).eval()

    def forward(self, ids, mask, words, targets):
        with torch.no_grad():
            states = [self.norm(self.embedding(ids) + self.positions(torch.arange(ids.shape[1]))[None])]
            for layer in self.backbone:
                states.append(layer(states[-1], mask))
        x = 0
        for tap, layer in zip(TAPS, self.taps):
            x = layer(states[tap] + x, mask)
        x = F.layer_norm(x, (HIDDEN,))
        wide = lambda part: F.dropout(F.gelu(part(x)), 0.33)
        scores = self.biaffine(wide(self.dependent)) @ wide(self.head).transpose(1, 2)
        scores = scores.masked_fill(~mask[:, 0], -1e9)
        return F.cross_entropy(scores[words], targets)


def pytorch(trees):
    torch.manual_seed(1)
    torch.set_num_threads(os.cpu_count())
    network = Network()
    for part in (network.embedding, network.positions, network.norm, network.backbone):
        part.eval()
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True)
    trees = sorted(trees, key=len)
    batches = [trees[start : start + BATCH] for start in range(0, len(trees), BATCH)]
    random.Random(1).shuffle(batches)
    seconds, tokens = 0.0, 0
    for place, batch in enumerate(batches * EPOCHS):
        start = time.perf_counter()
        longest = max(map(len, batch)) + 2
        ids, words = torch.zeros(len(batch), longest, dtype=torch.long), torch.zeros(len(batch), longest, dtype=torch.bool)
        for row, tree in enumerate(batch):
            ids[row, : len(tree) + 2] = 1000
            words[row, 1 : len(tree) + 1] = True
        mask = (ids > 0)[:, None, None, :]
        targets = torch.tensor([head if head != n else 0 for tree in batch for n, (_, head) in enumerate(tree, 1)])
        optimizer.zero_grad(set_to_none=True)
        loss = network(ids, mask, words, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if place >= len(batches):
            seconds += time.perf_counter() - start
            tokens += sum(map(len, batch)) + 2 * len(batch)
    return tokens / seconds


def main(rounds):
    with tempfile.TemporaryDirectory(dir=TARGET) as folder:
        folder = Path(folder)
        trees = list(sentences(SENTENCES, 1))
        (folder / "train.conllu").write_text(conllu(trees))
        (folder / "dev.conllu").write_text(conllu(sentences(8, 2)))
        for name, cache in (("with", 'directory = "taps"'), ("without", "enabled = false")):
            recipe = RECIPE.format(project=PROJECT, epochs=EPOCHS, batch=BATCH, cache=cache)
            (folder / f"{name}.toml").write_text(recipe)
        kadapter(folder, "with")
        engines = {
            "PyTorch": lambda: pytorch(trees),
            "kadapter, backbone in every step": lambda: kadapter(folder, "without"),
            "kadapter, cached states": lambda: kadapter(folder, "with"),
        }
        found = {name: [] for name in engines}
        for _ in range(rounds):
            for name, engine in engines.items():
                found[name].append(engine())
    print("| | tokens per second (median) | this / PyTorch (median of rounds) |\n| --- | ---: | ---: |")
    for name, speeds in found.items():
        ratio = statistics.median(speed / peer for speed, peer in zip(speeds, found["PyTorch"]))
        print(f"| {name} | {statistics.median(speeds):.0f} | {ratio:.2f} |")


main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
