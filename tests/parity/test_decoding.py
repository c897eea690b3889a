"""Decoding like bert4keras where it is right, and better where it loses the best text."""

import numpy as np
import pytest
from table_model import TableModel, all_texts
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras import decoding
from kexue_keras.models import build_transformer_model

pytestmark = pytest.mark.parity

END = 3
PROMPTS = np.array([[2, 7, 9, 3], [2, 8, 10, 3], [2, 30, 41, 3], [2, 12, 5, 3], [2, 33, 6, 3]])
UNIFORM = [0.25] * 4
DISCARDED = {
    (0, 0): [0.03, 0.55, 0.02, 0.40],
    (1, 1): [0.35, 0.30, 0.25, 0.10],
    (2, 0): [0.30, 0.30, 0.10, 0.30],
}
SHRUNK = {
    (0, 0): [0.01, 0.71, 0.08, 0.20],
    (1, 1): [0.335, 0.332, 0.328, 0.005],
    (2, 2): [0.001, 0.001, 0.001, 0.997],
}


def table_of(rows):
    table = np.full((3, 4, 4), UNIFORM)
    for place, distribution in rows.items():
        table[place] = distribution
    return table


class TableDecoder(decoding.AutoRegressiveDecoder):
    table = None

    @decoding.AutoRegressiveDecoder.wraps(default_rtype="probas")
    def predict(self, inputs, output_ids, states):
        step = output_ids.shape[1]
        previous = output_ids[:, -1] if step else np.zeros(len(output_ids), int)
        return self.table[step, previous]


def decode_table(table, topk, end_id=END):
    decoder = TableDecoder(None, end_id, len(table))
    decoder.table = table
    return decoder.beam_search([np.zeros(1)], topk).tolist()


@pytest.mark.parametrize(
    ("rows", "topk"), [(DISCARDED, 2), (SHRUNK, 3)], ids=["discarded", "shrunk"]
)
def test_bert4keras_loses_the_best_text_and_we_do_not(bert4keras, rows, topk):
    table = table_of(rows)
    finished, _ = all_texts(np.log(table), 0, END, 3)
    probabilities = {tuple(ids): total for ids, total in finished}
    best = max(probabilities, key=probabilities.get)
    theirs = bert4keras.run("beam_search", {"table": table}, end_id=END, maxlen=3, topk=topk)
    theirs = tuple(theirs["output_0"].tolist())
    assert probabilities.get(theirs, -np.inf) < probabilities[best]
    assert decode_table(table, topk) == list(best)
    generator = decoding.Generator(TableModel(np.log(table)[None]), end_id=END, maxlen=3)
    assert generator.beam_search([[0]], topk=topk)[0][0][0] == list(best)


def test_greedy_search_on_tables(bert4keras):
    for seed in range(5):
        table = np.random.default_rng(seed).dirichlet(np.ones(5), (6, 5))
        theirs = bert4keras.run("beam_search", {"table": table}, end_id=4, maxlen=6, topk=1)
        assert decode_table(table, 1, end_id=4) == theirs["output_0"].tolist()


class ModelDecoder(decoding.AutoRegressiveDecoder):
    model = None

    @decoding.AutoRegressiveDecoder.wraps(default_rtype="probas")
    def predict(self, inputs, output_ids, states):
        token_ids = np.concatenate([inputs[0], output_ids], axis=1)
        segment_ids = np.concatenate([inputs[1], np.ones_like(output_ids)], axis=1)
        model = self.last_token(self.model)
        return np.asarray(model([token_ids, segment_ids]))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    tiny = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))
    return {"config_path": tiny.config_path, "checkpoint_path": tiny.checkpoint_path}


@pytest.fixture(scope="module")
def model(checkpoint):
    return build_transformer_model(**checkpoint, application="unilm")


@pytest.mark.parametrize("end_id", [3, 20])
def test_greedy_search_with_a_unilm(bert4keras, checkpoint, model, end_id):
    segment_ids = np.zeros_like(PROMPTS)
    rows = {"token_ids": PROMPTS, "segment_ids": segment_ids}
    request = {"end_id": end_id, "maxlen": 6, "topk": 1, "application": "unilm"}
    answer = bert4keras.run("beam_search", rows, **checkpoint, **request)
    theirs = [answer[f"output_{i}"].tolist() for i in range(len(PROMPTS))]
    generator = decoding.Generator(model, end_id=end_id, maxlen=6)
    found = generator.beam_search(PROMPTS.tolist(), segment_ids.tolist())
    assert [results[0][0] for results in found] == theirs
    decoder = ModelDecoder(None, end_id, 6)
    decoder.model = model
    first = decoder.beam_search([PROMPTS[0], segment_ids[0]], topk=1)
    assert first.tolist() == theirs[0]
    assert len({tuple(ids) for ids in theirs}) > 1
