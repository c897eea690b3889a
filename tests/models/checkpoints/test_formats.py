"""Formats told apart, and what is said of those that are not read."""

import json
import re
import zipfile

import numpy as np
import pytest

from kexue_keras.models import CheckpointError
from kexue_keras.models.checkpoints import formats, tensor_bundle

pytestmark = pytest.mark.once


def kind(path):
    return formats.format_of(path)[0]


def refused(path, *messages):
    with pytest.raises(CheckpointError) as error:
        formats.format_of(path)
    for message in messages:
        assert re.search(message, str(error.value)), str(error.value)
    return str(error.value)


def test_every_format(tmp_path):
    tensor_bundle.write(tmp_path / "bert_model.ckpt", {"a": np.zeros(1)})
    key = "layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    tensor_bundle.write(tmp_path / "best.weights", {key: np.zeros(1)})
    for name in ("a.h5", "old.weights.x"):
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n")
    assert (
        kind(tmp_path / "bert_model.ckpt") == kind(tmp_path / "bert_model.ckpt.index") == "google"
    )
    assert kind(tmp_path / "best.weights") == "bert4keras"
    assert kind(tmp_path / "a.h5") == kind(tmp_path / "old.weights.x") == "bert4keras"
    assert kind(tmp_path / "any.npz") == "npz"
    assert kind(tmp_path / "any.safetensors") == "hugging_face"
    index = tmp_path / "model.safetensors.index.json"
    index.write_text("{}", encoding="utf-8")
    assert formats.format_of(index) == formats.format_of(tmp_path) == ("hugging_face", str(index))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert formats.format_of(tmp_path) == ("hugging_face", str(tmp_path / "model.safetensors"))


def test_nothing_there_says_what_was_looked_for(tmp_path):
    path = tmp_path / "bert_model.ckpt"
    refused(path, "bert_model.ckpt.index is missing, and there is no file or folder", "safetensors")


def test_a_pickle_is_refused_with_the_line_that_converts_it(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"")
    for place in (path, tmp_path):
        message = refused(place, "pytorch_model.bin is a pickle of PyTorch", "weights_only=True")
        command = message.splitlines()[-1]
        assert command.startswith('python -c "') and command.endswith('"')
        compile(command.removeprefix('python -c "')[:-1], "command", "exec")
    path.rename(tmp_path / "state.ckpt")  # as Lightning names it
    refused(tmp_path / "state.ckpt", "state.ckpt is a pickle")
    (tmp_path / "old.pt").write_bytes(b"\x80\x02}q\x00.")
    refused(tmp_path / "old.pt", "old.pt is a pickle")
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({}), encoding="utf-8")
    refused(tmp_path, "pickle of PyTorch.*save_pretrained")


def test_folders(tmp_path):
    refused(tmp_path, "is a folder without model.safetensors or .*index.json. It has: nothing")
    tensor_bundle.write(tmp_path / "bert_model.ckpt", {"a": np.zeros(1)})
    refused(tmp_path, "is a folder; .* is read by its prefix, .*/bert_model.ckpt$")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.keras", "is a whole model of Keras, which keras.saving.load_model reads"),
        ("bert_model.ckpt.meta", "is one file of .* by its prefix, .*/bert_model.ckpt$"),
        ("bert_model.ckpt.data-00000-of-00001", "is one file of .* prefix, .*/bert_model.ckpt$"),
        ("weights.msgpack", "is of no format that is read. These are: Google's"),
    ],
)
def test_other_files(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"something else")
    refused(tmp_path / name, message)
