"""The recipe sequence_labelling: its data, its layers, the table resumed, clear errors."""

import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import tyro
from recipes.commands import ROOT, interrupt_after, load, run
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras import datasets
from kexue_keras.datasets.lines import DataError
from kexue_keras.metrics import entities

pytestmark = pytest.mark.once
SENTENCES = [("我你他是大人", "B-X M-X E-X O S-Y O"), ("不很好", "O B-Y E-Y"), ("大水", "S-Y O")]


def write(path, sentences):
    blocks = (
        "".join(f"{c} {label}\n" for c, label in zip(text, labels.split(), strict=True))
        for text, labels in sentences
    )
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def recipe():
    return load("sequence_labelling")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelling")
    tiny = make_tiny_checkpoint(folder)
    rows = [(text * n, " ".join([labels] * n)) for text, labels in SENTENCES for n in (1, 2, 3)]
    return [
        *("--config-path", tiny.config_path, "--checkpoint-path", tiny.checkpoint_path),
        *("--dict-path", tiny.dict_path, "--train", write(folder / "train.bmes", rows)),
        *("--valid", write(folder / "valid.bmes", [("很好我大", "B-Y E-Y O S-Y")])),
        *("--maxlen", 16, "--batch-size", 4, "--epochs", 2),
    ]


def configure(recipe, *arguments):
    return tyro.cli(recipe.Config, args=[*map(str, arguments)])


def test_independent_labels_are_the_largest_logits_among_the_allowed(recipe):
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    lengths = np.array([5, 3, 1])
    mask = np.arange(5) < lengths[:, None]
    layer = recipe.IndependentLabels()
    output = layer(logits, mask=mask)
    plain, limited = layer.decode(output), layer.decode(output, starts=[0, 2], ends=[2, 3])
    for row, n in enumerate(lengths):
        best = logits[row, :n].argmax(-1)
        assert plain[row, :n].tolist() == best.tolist() and not limited[row, n:].any()
        allowed = [range(4)] * n
        allowed[0] = {0, 2} & set(allowed[0])
        allowed[-1] = {2, 3} & set(allowed[-1])
        best = [max(ids, key=lambda k, i=i: logits[row, i, k]) for i, ids in enumerate(allowed)]
        assert limited[row, :n].tolist() == best


@pytest.mark.eager
def test_the_table_interrupted_and_continued(arguments, recipe, tmp_path, capsys):
    wanted = [*arguments, "--methods", "softmax", "crf", "--num-layers", 1, 0]
    wanted += ["--output", tmp_path]
    output = interrupt_after("crf, 1 layers, seed 0", "sequence_labelling", *wanted)
    assert "goes on with the next cell" in output
    before = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    recipe.main(configure(recipe, *wanted))
    output = capsys.readouterr().out
    cells = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cells"]
    assert cells[: len(before)] == before and len(cells) == 2 * 2
    assert "softmax, 1 layers, seed" not in output
    for cell in cells:
        assert set(cell["figures"]) == {"f1", "precision", "recall", "seconds"}
        assert 0 <= cell["figures"]["f1"] <= 1 and cell["figures"]["seconds"] > 0
    for layers, method in itertools.product(("1", "all"), ("softmax", "crf")):
        assert f"\n| {layers} | {method} | " in output
        assert (tmp_path / f"best-{method}-{layers}.weights.h5").is_file()
    assert (tmp_path / "table.png").stat().st_size > 1000
    assert not list(tmp_path.glob("temporary-*"))
    wanted_tags = ["--tag", "我你 好大人" * 4, "--methods", "crf", "--output", tmp_path]
    shallow, deep = run("sequence_labelling", *wanted_tags).strip().splitlines()
    assert shallow.startswith("crf, 1 layers: ") and deep.startswith("crf, all layers: ")
    plain = re.sub(r"\[(\S+) [XY]\]", r"\1", deep.split(": ")[1])
    assert plain == "我你好大人" * 4
    with pytest.raises(ValueError, match="holds results with `epochs` = 2"):
        recipe.main(configure(recipe, *wanted, "--epochs", 3))


@pytest.mark.parametrize("method", ["softmax", "memm", "bi_memm", "crf"])
def test_every_layer_learns(recipe, arguments, method):
    rates = ["--learning-rate", 1e-2, "--lr-multiplier", 10, "--dropout", 0]
    config = configure(recipe, *arguments, "--epochs", 60, *rates)
    data = recipe.Data(config)
    labeller = recipe.Labeller(config, data.labels, method, 1, len(data.train))
    assert len(labeller.train(data.train, seed=0)) == 60
    found = labeller.tag([characters for characters, _ in data.train])
    assert found == [labels for _, labels in data.train]
    # a sentence in a batch with longer ones, and alone
    alone = [labeller.tag([characters])[0] for characters, _ in data.train]
    assert alone == found
    trained = labeller.model.get_weights()
    labeller.reset(seed=0)
    before = labeller.model.get_weights()
    assert max(np.abs(a - b).max() for a, b in zip(trained, before, strict=True)) > 0.1


def test_losses_by_brute_force(recipe):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 4, 3)).astype("float32")
    labels = np.array([[2, 0, 1, 0]], "int32")
    mask = np.array([[True, True, True, False]])
    paths = list(itertools.product(range(3), repeat=3))

    def score(path, trans):
        pairs = sum(trans[a, b] for a, b in zip(path, path[1:], strict=False))
        return sum(logits[0, i, k] for i, k in enumerate(path)) + pairs

    for make, trans in (
        (recipe.METHODS["crf"], rng.normal(size=(3, 3))),
        (recipe.METHODS["softmax"], np.zeros((3, 3))),
    ):
        layer = make(10.0)
        layer.build((None, None, 3))
        if layer.weights:
            layer.weights[0].assign(trans / 10)
        output = layer(logits, mask=mask)
        total = np.log(sum(np.exp(score(path, trans)) for path in paths))
        expected = total - score(labels[0, :3], trans)
        assert float(layer.sparse_loss(labels, output)[0]) == pytest.approx(expected, rel=1e-5)
        best = max(paths, key=lambda path: score(path, trans))
        assert layer.decode(output)[0].tolist() == [*best, 0]


def test_long_sentences_are_divided_between_entities(recipe):
    labels = "O B-X M-X M-X E-X S-Y O B-X I-X O O B-Y E-Y".split()
    characters = list(map(str, range(len(labels))))
    for size in range(4, 14):
        parts = list(recipe.pieces(characters, labels, size))
        assert all(0 < len(part) <= size for part, _ in parts)
        assert sum((part for part, _ in parts), []) == characters
        counts = [len(entities(part)) for _, part in parts]
        assert sum(counts) == len(entities(labels))
    text = ["大"] * 40
    inside = ["B-X", *["M-X"] * (len(text) - 1)]
    assert max(len(part) for part, _ in recipe.pieces(text, inside, 7)) == 7


def test_held_out_sentences_are_not_trained_on(recipe, tmp_path):
    rows = [(chr(0x4E00 + i) * 2, "B-X E-X") for i in range(20)]
    train = write(tmp_path / "train.bmes", rows + rows[:5])
    config = recipe.Config(train=(train,), valid=(), hold_out=0.24)
    data = recipe.Data(config)
    valid, rest = ({"".join(c) for c, _ in part} for part in (data.valid, data.train))
    assert len(data.valid) >= 6 and len(valid) + len(rest) == 20 and not valid & rest
    again = recipe.Data(recipe.Config(train=(train,), valid=(), hold_out=0.24, limit=4))
    assert again.valid == data.valid and len(again.train) == 4
    assert again.labels == ["O", "B-X", "E-X"]


def test_errors(recipe, arguments, tmp_path):
    with pytest.raises(ValueError, match="`methods` must be among.*'magic'"):
        recipe.main(recipe.Config(methods=("magic",)))
    for option, value in (("--maxlen", 2), ("--epochs", 0), ("--limit", -5)):
        with pytest.raises(ValueError, match=f"`{option[2:]}` must be at least .*: {value}"):
            recipe.main(configure(recipe, *arguments, option, value, "--output", tmp_path))
    for hold_out in (1.0, -0.1):
        with pytest.raises(ValueError, match=f"`hold_out` must be .* Received: {hold_out}"):
            recipe.Data(configure(recipe, *arguments, "--hold-out", hold_out))
    with pytest.raises(ValueError, match="`valid` or `hold_out` must hold samples out"):
        recipe.Data(configure(recipe, *arguments, "--valid"))
    with pytest.raises(FileNotFoundError, match="none has no trained weights"):
        recipe.main(configure(recipe, *arguments, "--tag", "大", "--output", tmp_path / "none"))
    bad = tmp_path / "bad.bmes"
    bad.write_text("大 O\n人 Q-X\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.bmes:2: a label must be .*'Q-X'"):
        recipe.main(configure(recipe, *arguments, "--train", bad, "--output", tmp_path))


def test_the_sample_is_made_again_and_its_names_are_held_out(tmp_path):
    script = ROOT / "data" / "make_profiles.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    found = {}
    for split, size in (("train", 800), ("valid", 150)):
        path = ROOT / "data" / f"profiles_{split}.bmes"
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
        sentences = datasets.load_labelled(path)
        assert len({"".join(characters) for characters, _ in sentences}) == size
        found[split] = {
            ("".join(characters[start:end]), kind)
            for characters, labels in sentences
            for start, end, kind in entities(labels)
        }
        assert {kind for _, kind in found[split]} == {"NAME", "ORG", "TITLE", "EDU", "PRO", "LOC"}
    both = {kind for _, kind in found["train"] & found["valid"]}
    assert both == {"TITLE", "EDU", "PRO"}
