"""Training samples and held-out ones that share nothing."""

import dataclasses
from pathlib import Path

import pytest

from kexue_keras import datasets
from kexue_keras.experiments.held_out import load_samples, load_valid
from kexue_keras.experiments.options import Files, HeldOut

pytestmark = pytest.mark.once

SAMPLES = {
    "a.tsv": [("x", 1), ("y", 2)],
    "b.tsv": [(letter, number) for number, letter in enumerate("cdefghijkl")],
    "valid.tsv.xz": [("y", 0), ("z", 7)],
}


def load(path):
    return SAMPLES[path.name]


def paths(*names):
    return tuple(map(Path, names))


def word(sample):
    return sample[0]


def test_files_without_what_is_held_out():
    train, valid = load_samples(Files(paths("a.tsv"), paths("valid.tsv.xz")), load, [word])
    assert train == [("x", 1)] and valid == {"valid": SAMPLES["valid.tsv.xz"]}
    keys = [word, lambda sample: sample[1] % 2]  # 7 and 1 are odd
    with pytest.raises(ValueError, match="must have usable samples.* Received: train"):
        load_samples(Files(paths("a.tsv"), paths("valid.tsv.xz")), load, keys)


def test_a_share_of_the_last_file_is_held_out_besides():
    config = HeldOut(paths("a.tsv", "b.tsv"), paths("valid.tsv.xz"), 0.3)
    train, valid = load_samples(config, load, [word])
    assert list(valid) == ["valid", "held_out"] and len(valid["held_out"]) == 3
    assert set(valid["held_out"]) < set(SAMPLES["b.tsv"])
    assert sorted(train + valid["held_out"]) == sorted([("x", 1), *SAMPLES["b.tsv"]])
    assert (train, valid) == load_samples(config, load, [word])
    # the other end of the same order
    _, other = load_samples(config, load, [word], first=True)
    assert len(other["held_out"]) == 3 and other["held_out"] != valid["held_out"]
    (first,) = datasets.split(SAMPLES["b.tsv"], (0.3,), key=word)
    assert other["held_out"] == first


def test_what_belongs_together_is_not_parted():
    groups = {"g.tsv": [(i // 4, i) for i in range(40)]}
    config = HeldOut(paths("g.tsv"), (), 0.25)
    same = [lambda sample: sample[1]]
    train, valid = load_samples(config, lambda path: groups[path.name], same, word)
    assert not {g for g, _ in train} & {g for g, _ in valid["held_out"]}
    assert len(train) + len(valid["held_out"]) == 40


def test_a_limit_draws_the_same_training_samples():
    @dataclasses.dataclass
    class Limited(HeldOut):
        limit: int = 0

    config = Limited(paths("b.tsv"), paths("valid.tsv.xz"), limit=4)
    train, _ = load_samples(config, load, [word])
    assert len(train) == 4 and train == load_samples(config, load, [word])[0]
    assert len(load_samples(dataclasses.replace(config, limit=99), load, [word])[0]) == 10


@pytest.mark.parametrize("share", [1.0, -0.1, 3.0, float("nan")])
def test_a_share_is_below_one(share):
    config = HeldOut(paths("a.tsv"), paths("valid.tsv.xz"), share)
    with pytest.raises(ValueError, match="`hold_out` must be from 0 to below 1. Received"):
        load_samples(config, load, [word])


def test_names_of_a_dictionary_are_keys():
    rows = {"a": [{"q": 1, "p": 2}, {"q": 3, "p": 4}], "v": [{"q": 5, "p": 4}]}
    train, _ = load_samples(Files(paths("a"), paths("v")), lambda p: rows[p.name], ["q", "p"])
    assert train == [{"q": 1, "p": 2}]


def test_held_out_sets_have_names_of_their_own(tmp_path):
    def load(path):
        return [path]

    found = load_valid([tmp_path / "a.tsv", tmp_path / "b.tsv.xz"], load)
    assert found == {"a": [tmp_path / "a.tsv"], "b": [tmp_path / "b.tsv.xz"]}
    assert load_valid([tmp_path / "held_out.tsv"], load).keys() == {"held_out"}
    with pytest.raises(ValueError, match="`valid` must not have the name .*held_out.tsv"):
        load_valid([tmp_path / "held_out.tsv.xz"], load, hold_out=0.1)
    with pytest.raises(ValueError, match="different names. Received: a twice"):
        load_valid([tmp_path / "a.tsv", tmp_path / "b" / "a.tsv"], load)
    with pytest.raises(ValueError, match="`valid` or `hold_out` must hold samples out"):
        load_valid([], load)
