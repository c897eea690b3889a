"""The command that the refusal of a pickle names does convert it."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from transformers_inputs import SIZES, assert_equal, token_ids

from kexue_keras.models import CheckpointError, build_transformer_model

pytestmark = pytest.mark.peers


def test_the_converted_file_loads(peer, tmp_path):
    name = "BertForMaskedLM"
    request = {"folder": tmp_path, "model": name, "config": "BertConfig", "options": SIZES}
    peer.run("save", pickle=True, **request)
    with pytest.raises(CheckpointError, match="is a pickle of PyTorch") as error:
        build_transformer_model(tmp_path, tmp_path)
    command = shlex.split(re.search("python -c .*", str(error.value)).group())
    subprocess.run([sys.executable, *command[1:]], check=True)
    model = build_transformer_model(tmp_path, tmp_path, with_mlm="linear")
    ids, mask = token_ids()
    inputs = {"input_ids": ids, "attention_mask": mask.astype("int32")}
    expected = peer.run("outputs", inputs, folder=tmp_path, model=name)["logits"]
    assert_equal(model.predict_on_batch([ids, np.zeros_like(ids)]), expected, mask)
