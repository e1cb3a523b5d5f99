"""Prints what TensorBoard shows of a directory: by its Python reader, and by the server that people look at."""
import json, socket, subprocess, sys, time, urllib.request
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

directory = sys.argv[1]
accumulator = EventAccumulator(directory).Reload()
tags = accumulator.Tags()["scalars"]
result = {"accumulator": {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags}}

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
command = [sys.executable, "-m", "tensorboard.main", "--logdir", directory, "--port", str(port), "--load_fast=true"]
server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def get(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/scalars/{path}", timeout=5) as answer:
        return json.load(answer)


try:
    deadline = time.monotonic() + 300
    while True:
        try:
            tags = get("tags")["."]
            result["server"] = {tag: [(step, value) for _, step, value in get(f"scalars?run=.&tag={tag}")] for tag in tags}
            break
        except (OSError, KeyError) as problem:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"tensorboard does not answer: {problem}")
            time.sleep(0.2)
finally:
    server.terminate()
    server.wait()
print(json.dumps(result))
