"""Runs engines in turn, one call each, and prints medians and ratios as a Markdown table.

`compare.py FOLDER [--rounds N] [--shapes 1x32,1x128,8x128] NAME=COMMAND …`: the first engine is ours. Each command speaks the
lines of `protocol.py`. All engines are loaded before the first call, only one works at a time, and every round asks each of
them once, so that a busy machine is busy for all.
"""

import argparse
import shlex
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np

# Engines spin for a while after their work; the next one should not feel it.
PAUSE = 0.05


class Engine:
    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"Could not hear from `{self.name}`: it ended with status {self.process.wait()}")
        return line.strip()

    def ask(self, *words):
        time.sleep(PAUSE)
        print(*words, file=self.process.stdin, flush=True)
        return float(self.answer())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("engines", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shapes", default="1x32,1x128,8x128")
    arguments = parser.parse_args()
    shapes = [tuple(map(int, shape.split("x"))) for shape in arguments.shapes.split(",")]

    engines = [Engine(*engine.split("=", 1)) for engine in arguments.engines]
    for engine in engines:
        if (line := engine.answer()) != "ready":
            raise SystemExit(f"Could not start `{engine.name}`: it said `{line}`, expected `ready`")

    ours = engines[0]
    print("| batch x tokens |", " | ".join(f"{engine.name}, ms" for engine in engines), end=" | ")
    print(" | ".join(f"{ours.name} / {engine.name}" for engine in engines[1:]), "| largest difference |")
    print("| --- |", " | ".join("---:" for _ in range(2 * len(engines))), "|")
    for shape in shapes:
        outputs = []
        for engine in engines:
            path = arguments.folder / f"{engine.name}.f32"
            engine.ask(*shape, path)
            outputs.append(np.fromfile(path, dtype=np.float32))
            path.unlink()
        difference = max((float(np.abs(outputs[0] - output).max()) for output in outputs[1:]), default=0.0)
        times = [[] for _ in engines]
        for _ in range(arguments.rounds):
            for engine, measured in zip(engines, times):
                measured.append(engine.ask(*shape))
        medians = [statistics.median(measured) for measured in times]
        # The median of the rounds' ratios: within a round the machine changes least.
        ratios = [statistics.median(a / b for a, b in zip(times[0], other)) for other in times[1:]]
        cells = [f"{median:.3g}" if median < 100 else f"{median:.0f}" for median in medians] + [f"{ratio:.2f}" for ratio in ratios] + [f"{difference:.1e}"]
        print(f"| {shape[0]} x {shape[1]} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
