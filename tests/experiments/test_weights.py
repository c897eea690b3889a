"""The best weights of methods, with their descriptions."""

import dataclasses
import json
from pathlib import Path

import pytest

from kexue_keras.experiments.options import Pretrained, Table
from kexue_keras.experiments.weights import (
    keep_best,
    save_weights,
    trained_weights,
    weights_description,
)

pytestmark = pytest.mark.once


def test_weights_and_what_they_are_of(tmp_path):
    class Model:
        def save_weights(self, path):
            path.write_text("weights", encoding="utf-8")

    path = tmp_path / "new" / "m.weights.h5"
    save_weights(path, Model(), {"labels": ["很", 1]})
    assert path.read_text(encoding="utf-8") == "weights"
    text = (tmp_path / "new" / "m.json").read_text(encoding="utf-8")
    assert json.loads(text) == weights_description(path) == {"labels": ["很", 1]}
    assert len(list(path.parent.iterdir())) == 2

    class Interrupted:
        def save_weights(self, path):
            path.write_text("wei", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_weights(path, Interrupted(), {})
    assert path.read_text(encoding="utf-8") == "weights" and weights_description(path) is None


class Named:
    """Stands for a model."""

    def __init__(self, name):
        self.name = name

    def save_weights(self, path):
        path.write_text(self.name, encoding="utf-8")


@dataclasses.dataclass
class Config(Table, Pretrained):
    methods: tuple[str, ...] = ("a", "b", "c")
    tag: str | None = None


FREE = ("output", "seeds", "methods", "tag")


def test_only_the_best_seed_is_kept(tmp_path):
    config = Config(output=tmp_path)
    for seed, (value, before) in enumerate([(0.5, None), (0.7, 0.5), (0.7, 0.7), (0.6, 0.7)]):
        keep_best(config, FREE, "a", Named(str(seed)), value, before, seed=seed)
    assert (tmp_path / "a.weights.h5").read_text(encoding="utf-8") == "1"
    assert weights_description(tmp_path / "a.weights.h5")["seed"] == 1


def test_weights_are_used_with_the_options_of_their_training(tmp_path):
    paths = {"config_path": Path("c.json"), "checkpoint_path": Path("c.npz")}
    config = Config(output=tmp_path, maxlen=32, **paths)
    for name, method in (("b", "b"), ("a", "a"), ("best-a-4", "a")):
        keep_best(config, FREE, name, Named(name), 1.0, None, method=method)
    (tmp_path / "c.weights.h5").write_text("without a description", encoding="utf-8")
    found = trained_weights(Config(output=tmp_path, tag="text"), FREE)
    assert [path.name.split(".")[0] for path, _, _ in found] == ["a", "best-a-4", "b"]
    assert [description["method"] for _, description, _ in found] == ["a", "a", "b"]
    for _, _, old in found:
        assert (old.maxlen, old.config_path, old.tag) == (32, Path("c.json"), "text")
        assert old.checkpoint_path is None and old.output == tmp_path
    assert len(trained_weights(Config(output=tmp_path, methods=("b",)), FREE)) == 1
    with pytest.raises(FileNotFoundError, match="has no trained weights; train first"):
        trained_weights(Config(output=tmp_path, methods=("c",)), FREE)


def test_a_description_without_a_method_has_that_of_its_name(tmp_path):
    config = {"maxlen": 32}
    save_weights(tmp_path / "a.weights.h5", Named("a"), {"labels": [0], "config": config})
    ((_, description, old),) = trained_weights(Config(output=tmp_path), FREE)
    assert description["method"] == "a" and old.maxlen == 32
