"""Kinds of nouns for `factual-kinds.toml`: WordNet's glosses behind their lemmas, as JSON lines: `kinds.py WORDNET > FILE`.

WORDNET is `wordnet30-gloss-triples.tsv` (or `.xz`). The label is the lexicographer file of the synset, the subject its lemma, the object the
related lemma in the gloss. One record for each synset.
"""

import json
import lzma
import re
import sys

# The lexicographer files of nouns, from number 3 on.
KINDS = """tops act animal artifact attribute body cognition communication event feeling food group location motive object person
phenomenon plant possession process quantity relation shape state substance time""".split()
TOO_FEW = {"tops", "motive", "relation", "shape"}


def main(path):
    read, seen = lzma.open if path.endswith(".xz") else open, set()
    with read(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            synset, number, _, head, tail, gloss = line.rstrip("\n").split("\t")
            if not synset.startswith("n") or synset in seen or KINDS[int(number) - 3] in TOO_FEW:
                continue
            seen.add(synset)
            if found := re.search(rf"\b{re.escape(tail)}\w*", gloss, re.IGNORECASE):
                behind = len(head) + 2
                print(json.dumps({
                    "text": f"{head}: {gloss}",
                    "subject": [0, len(head)],
                    "object": [behind + found.start(), behind + found.end()],
                    "label": KINDS[int(number) - 3],
                    "synset": synset,
                }))


if __name__ == "__main__":
    main(*sys.argv[1:])
