"""The training step of `kadapter-bench train-step` in PyTorch: `pytorch_train.py ROUNDS THREADS [DEVICE]`.

Segments are padded to the longest and masked in attention, as PyTorch users do. The fused scaled-dot-product attention and the
fused AdamW are used; both are faster here than the plain ones.
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

HIDDEN, SIZE, HEADS, INNER, LABELS, P = 384, 192, 6, 768, 32, 0.1


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.mixed = (nn.Linear(SIZE, SIZE) for _ in range(4))
        self.wide, self.narrow = nn.Linear(SIZE, INNER), nn.Linear(INNER, SIZE)
        self.norms = nn.ModuleList(nn.LayerNorm(SIZE) for _ in range(2))

    def forward(self, x, mask):
        heads = [p(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for p in (self.query, self.key, self.value)]
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=mask).transpose(1, 2).flatten(2)
        x = self.norms[0](F.dropout(self.mixed(mixed), P) + x)
        return self.norms[1](F.dropout(self.narrow(F.gelu(self.wide(x))), P) + x)


class Tap(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(HIDDEN, SIZE), nn.Linear(SIZE, HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(2))

    def forward(self, x, mask):
        z = self.down(x)
        for layer in self.layers:
            z = layer(z, mask)
        return x + self.up(z)


def main(rounds, threads, device="cpu"):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    lengths = [9 + segment * 33 // 31 for segment in range(32)]
    longest = max(lengths)
    mask = (torch.arange(longest)[None] < torch.tensor(lengths)[:, None])[:, None, None, :]
    mask = mask.to(device)
    taps = [(torch.rand(32, longest, HIDDEN) * 2 - 1).to(device) for _ in range(3)]
    network, head = nn.ModuleList(Tap() for _ in range(3)).to(device), nn.Linear(2 * HIDDEN, LABELS).to(device)
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True)
    targets = (torch.arange(32) % LABELS).to(device)
    times = []
    for _ in range(rounds + 3):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        state = 0
        for tap, layer in zip(taps, network):
            state = layer(tap + state, mask)
        loss = F.cross_entropy(head(torch.cat((state, taps[2]), -1)[:, 0]), targets)
        loss.item()
        forward = time.perf_counter()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        backward = time.perf_counter()
        optimizer.step()
        if head.bias.isnan().any().item():
            raise SystemExit("the values are not numbers any more")
        end = time.perf_counter()
        times.append((forward - start, backward - forward, end - backward, end - start))
    print(f"{sum(p.numel() for p in parameters)} values, {sum(lengths)} rows of {32 * longest} with pads, loss {loss.item()}")
    for name, part in zip(("forward", "backward", "update", "step"), zip(*times[3:])):
        print(f"{name} median {statistics.median(part) * 1e3:.2f} ms, fastest {min(part) * 1e3:.2f} ms")


main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
