"""What the scripts that run the command share: where this clone lies, its registries, and words for texts that are made up."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
KADAPTER = TARGET / "release/kadapter"
# Each of one token.
WORDS = "river bread night house winter small green sings walks under every never slowly music garden window paper light".split()
PROJECT = f"""
[registries]
kadapter = "{ROOT}/registry/seed"
kadapter-plugins = "{ROOT}/registry/local"
[backbone]
package = "kadapter/minilm-roberta"
version = "^1"
"""
