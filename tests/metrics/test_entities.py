"""Entities of tags against conlleval's tables written out, and exact counts."""

import itertools
import random

import pytest

from kexue_keras.metrics import entities, entity_f1

# conlleval.pl's endOfChunk and startOfChunk, as pairs (previous prefix, prefix); I stands for M too
ENDS = {"BB", "BS", "BO", "IB", "IS", "IO", "EE", "EI", "EO", "EB", "ES", "SE", "SI", "SO", "SB"}
ENDS |= {"SS"}
STARTS = {"EE", "EI", "SE", "SI", "OE", "OI"}


def conlleval(tags):
    """Transcription of conlleval's loop, whose chunks open and close by tables."""
    found, start, before, before_type = [], None, "O", ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        prefix = "I" if prefix == "M" else prefix
        changed = before_type != kind
        ends = before + prefix in ENDS or (before != "O" and changed)
        starts = prefix in "BS" or before + prefix in STARTS or (prefix != "O" and changed)
        if ends and start is not None:
            found.append((start, i, before_type))
            start = None
        if starts:
            start = i
        before, before_type = prefix, kind
    return found


def test_all_short_sequences_as_conlleval():
    tags = ["O"] + [f"{prefix}-{kind}" for prefix in "BIMES" for kind in "XY"]
    for length in (0, 1, 2, 3, 4):
        for sequence in itertools.product(tags, repeat=length):
            assert entities(sequence) == conlleval(sequence), sequence


def test_well_formed_tags_give_back_the_entities():
    rng = random.Random(0)
    for scheme in ("BIO", "BMES"):
        for _ in range(200):
            tags, truth = [], []
            for _ in range(rng.randrange(6)):
                tags += ["O"] * rng.randrange(3)
                size, kind = rng.randrange(1, 5), rng.choice("XYZ")
                truth.append((len(tags), len(tags) + size, kind))
                if scheme == "BIO":
                    prefixes = "B" + "I" * (size - 1)
                else:
                    prefixes = "S" if size == 1 else "B" + "M" * (size - 2) + "E"
                tags += [f"{prefix}-{kind}" for prefix in prefixes]
            assert entities(tags) == truth


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("I-X I-X", [(0, 2, "X")]),
        ("B-X I-Y", [(0, 1, "X"), (1, 2, "Y")]),
        ("B-X M-X O", [(0, 2, "X")]),
        ("B-X E-X E-X", [(0, 2, "X"), (2, 3, "X")]),
        ("S-X M-X", [(0, 1, "X"), (1, 2, "X")]),
        ("B-a-b I-a-b", [(0, 2, "a-b")]),
    ],
)
def test_malformed_tags(tags, expected):
    assert entities(tags.split()) == expected


@pytest.mark.parametrize("tag", ["X", "B", "B-", "Q-X", "", "o", "BS-X"])
def test_what_is_not_a_tag(tag):
    with pytest.raises(ValueError, match="`tags` must be O, or one of"):
        entities(["O", tag])


def test_scores_count_exact_matches_only():
    gold = [[(0, 2, "X"), (3, 5, "Y")], [(1, 2, "X")], []]
    found = [[(0, 2, "X"), (3, 4, "Y")], [(1, 2, "Y")], [(0, 1, "X")]]
    scores = entity_f1(gold, found)
    assert scores.precision == 1 / 4 and scores.recall == 1 / 3
    mean = 2 / (1 / scores.precision + 1 / scores.recall)
    assert scores.f1 == pytest.approx(mean)
    assert entity_f1(gold, gold) == (1.0, 1.0, 1.0)
    assert entity_f1(gold, [[], [], []]) == entity_f1([[]], [[]]) == (0.0, 0.0, 0.0)


def test_the_same_entity_counts_once_and_sentences_stay_apart():
    assert entity_f1([[(0, 1, "X")]], [[(0, 1, "X"), (0, 1, "X")]]).precision == 1.0
    assert entity_f1([[(0, 1, "X")], []], [[], [(0, 1, "X")]]).f1 == 0.0
    with pytest.raises(ValueError, match="same number of sentences. Received: 1 and 2"):
        entity_f1([[]], [[], []])
