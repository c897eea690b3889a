"""The command that the refusal of a pickle names does convert it."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="`make test-peers` installs PyTorch")
transformers = pytest.importorskip("transformers")

from transformers_models import SIZES, randomized  # noqa: E402

from kexue_keras.models import CheckpointError, build_transformer_model  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.once]


def test_the_converted_file_loads(tmp_path):
    peer = randomized(transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)))
    peer.config.save_pretrained(tmp_path)
    torch.save(peer.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="is a pickle of PyTorch") as error:
        build_transformer_model(tmp_path, tmp_path)
    command = shlex.split(re.search("python -c .*", str(error.value)).group())
    subprocess.run([sys.executable, *command[1:]], check=True)
    model = build_transformer_model(tmp_path, tmp_path, with_mlm="linear")
    np.testing.assert_array_equal(
        model.get_layer("Embedding-Token").get_weights()[0],
        peer.bert.embeddings.word_embeddings.weight.detach().numpy(),
    )
