"""Options: checked, stored, and given back."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from kexue_keras.experiments.options import (
    DATA,
    HeldOut,
    Pretrained,
    SingleRun,
    SmallBert,
    Table,
    UsageError,
    as_stored,
    check,
    options_of,
)

pytestmark = pytest.mark.once


def test_options_that_are_too_small():
    config = SimpleNamespace(epochs=1, seeds=(0, 1), none=())
    check(config, epochs=1, seeds=0)
    for name, least in (("epochs", 2), ("seeds", 1), ("none", 0)):
        with pytest.raises(ValueError, match=f"`{name}` must be at least {least}. Received: "):
            check(config, **{name: least})
    with pytest.raises(ValueError, match="`epochs` must be at least 1. Received: nan"):
        check(SimpleNamespace(epochs=float("nan")), epochs=1)


def test_options_that_are_unknown():
    config = SimpleNamespace(methods=("a", "magic"), numbers="marks")
    check(config, numbers=("digits", "marks"))
    with pytest.raises(UsageError, match=r"`methods` must be among \('a', 'b'\).*: 'magic'"):
        check(config, methods=("a", "b"))


def test_what_means_the_same_everywhere_is_checked_everywhere():
    check(Table())
    for option, value in (("epochs", 0), ("batch_size", 0), ("seeds", ())):
        with pytest.raises(UsageError, match=f"`{option}` must be at least"):
            check(dataclasses.replace(Table(), **{option: value}))


@dataclasses.dataclass
class Config(Table, SmallBert, HeldOut):
    pair: tuple[str, str] | None = None
    knowledge: tuple[Path, ...] = (Path("k.tsv"),)


def test_options_come_back_from_json():
    config = Config(train=(Path("a"), Path("b")), pair=("x", "y"), seeds=(3,), dict_path=None)
    stored = json.loads(json.dumps(options_of(config)))
    assert stored["train"] == ["a", "b"] and stored["config_path"] == str(config.config_path)
    back = as_stored(Config(), stored)
    assert back == dataclasses.replace(config, checkpoint_path=None)
    other = as_stored(Config(maxlen=7, pair=("u", "v")), stored | {"gone": 1}, free=["pair"])
    assert (other.maxlen, other.pair) == (128, ("u", "v"))


def test_the_small_bert_is_there():
    for name in ("config_path", "checkpoint_path", "dict_path"):
        assert getattr(SmallBert(), name).is_file() and getattr(Pretrained(), name) is None
    assert DATA.is_dir()


def test_options_of_a_run_come_back(tmp_path):
    options = SingleRun(epochs=3, seed=5, output=tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="has no trained weights"):
        _ = options.best_path
    options.output.mkdir()
    (options.output / "config.json").write_text(json.dumps(options_of(options)), encoding="utf-8")
    (options.output / "best.weights.h5").write_bytes(b"")
    back = SingleRun(output=options.output, batch_size=7).as_trained(free=["batch_size"])
    assert (back.epochs, back.batch_size, back.seed) == (3, 7, 0)
