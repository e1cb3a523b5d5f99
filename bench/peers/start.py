"""Times `kadapter run` from process start to exit, and its peak memory beside the bytes of the weights that it loads."""

import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

TEXT = "The <e1>handle</e1> of the old <e2>kettle</e2> broke off this morning ."
ROUNDS = 21


def main():
    kadapter, manifest = sys.argv[1:]
    command = [kadapter, "run", "relation", TEXT, "--manifest", manifest]
    milliseconds, peaks = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        milliseconds.append((time.perf_counter() - start) * 1000)
        if status != 0:
            raise SystemExit(f"{command} failed with status {status}")
        peaks.append(usage.ru_maxrss * 1024 / 1e6)
    weights = 0
    for package in ("kadapter/minilm-roberta", "kadapter/factual", "kadapter/linguistic", "kadapter/semeval-relation"):
        info = subprocess.run(
            [kadapter, "info", package, "--manifest", manifest], check=True, capture_output=True, text=True
        ).stdout
        weights += sum(int(size) for size in re.findall(r"\.safetensors (\d+) bytes", info)) / 1e6
    print("| start to answer, ms (median, worst) | peak memory, MB | weights on disk, MB | 1.3 x weights + 100, MB |")
    print("| ---: | ---: | ---: | ---: |")
    times = f"{statistics.median(milliseconds):.0f}, {max(milliseconds):.0f}"
    print(f"| {times} | {statistics.median(peaks):.0f} | {weights:.0f} | {1.3 * weights + 100:.0f} |")


if __name__ == "__main__":
    main()
