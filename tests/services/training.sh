#!/usr/bin/env bash
# Runs a command where the programs are that the tests of training meet: Open MPI and TensorBoard.
#
#     tests/services/training.sh cargo test --release -p kadapter-host --features mpi --test ranks
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=/dev/null
. "$here/install.sh"
trap 'rm -rf "$work"' EXIT

# The last is for the build: the bindings to MPI are made from its headers.
debian python3-venv openmpi-bin libopenmpi-dev libclang-dev
pip tensorboard tensorboard==2.21.0 setuptools==80.9.0
export KADAPTER_TEST_TENSORBOARD="$cache/tensorboard/bin/python"
"$@"
