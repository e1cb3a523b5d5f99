"""What every engine under test speaks on stdin and stdout, one line at a time.

`ready` comes first. `BATCH TOKENS` runs once and is answered with milliseconds; `BATCH TOKENS PATH` also writes the outputs
(last hidden state, then each adapter's features) to a file of raw float32.
"""

import sys
import time
from pathlib import Path

import numpy as np

from model import HIDDEN


def serve(folder, run):
    """Answers lines until stdin ends; `run(x)` takes `[batch, tokens, hidden]` and returns a list of arrays."""
    values = np.fromfile(Path(folder) / "input.f32", dtype=np.float32)
    print("ready", flush=True)
    for line in sys.stdin:
        batch, tokens, *path = line.split()
        batch, tokens = int(batch), int(tokens)
        x = values[: batch * tokens * HIDDEN].reshape(batch, tokens, HIDDEN)
        start = time.perf_counter()
        outputs = run(x)
        milliseconds = (time.perf_counter() - start) * 1000
        if path:
            np.concatenate([output.ravel() for output in outputs]).tofile(path[0])
        print(milliseconds, flush=True)
