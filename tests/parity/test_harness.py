"""The harness itself: bert4keras against a BERT written in NumPy, and its file formats."""

import math

import h5py
import numpy as np
import pytest
from tiny_checkpoint import make_tiny_checkpoint

from kexue_keras.models.checkpoints.tensor_bundle import TensorBundle

pytestmark = pytest.mark.parity

TOKEN_IDS = np.array([[2, 7, 9, 3, 11, 12, 3, 0], [2, 8, 0, 10, 3, 0, 0, 0]])
SEGMENT_IDS = np.array([[0, 0, 0, 0, 1, 1, 1, 0], [0] * 8])
ROWS = {"token_ids": TOKEN_IDS, "segment_ids": SEGMENT_IDS}
erf = np.vectorize(math.erf)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def paths(tiny):
    return {"config_path": tiny.config_path, "checkpoint_path": tiny.checkpoint_path}


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


class NumpyBert:
    """BERT in float64 from the variables of a Google checkpoint."""

    def __init__(self, variables, heads):
        self.variables = {name: array.astype("float64") for name, array in variables.items()}
        self.heads = heads

    def dense(self, x, name):
        return x @ self.variables[f"{name}/kernel"] + self.variables[f"{name}/bias"]

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12)
        return x * self.variables[f"{name}/gamma"] + self.variables[f"{name}/beta"]

    def attention(self, x, visible, name):
        def split(projection):
            y = self.dense(x, f"{name}/self/{projection}")
            return y.reshape(*y.shape[:2], self.heads, -1).swapaxes(1, 2)

        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
        scores = np.where(visible[:, None], scores, -np.inf)
        mixed = (softmax(scores) @ value).swapaxes(1, 2).reshape(x.shape)
        return self.dense(mixed, f"{name}/output/dense")

    def hidden(self, token_ids, segment_ids, layers, unilm=False):
        """The output of the last layer, (B, T, hidden)."""
        is_token = token_ids > 0
        is_token[:, 0] = True
        visible = np.repeat(is_token[:, None], token_ids.shape[1], axis=1)
        if unilm:
            steps = np.cumsum(segment_ids, axis=1)
            visible = visible & (steps[:, None, :] <= steps[:, :, None])
        embeddings = "bert/embeddings"
        x = self.variables[f"{embeddings}/word_embeddings"][token_ids]
        x = x + self.variables[f"{embeddings}/token_type_embeddings"][segment_ids]
        x = x + self.variables[f"{embeddings}/position_embeddings"][: token_ids.shape[1]]
        x = self.norm(x, f"{embeddings}/LayerNorm")
        for index in range(layers):
            name = f"bert/encoder/layer_{index}"
            x = x + self.attention(x, visible, f"{name}/attention")
            x = self.norm(x, f"{name}/attention/output/LayerNorm")
            inner = gelu(self.dense(x, f"{name}/intermediate/dense"))
            x = self.norm(x + self.dense(inner, f"{name}/output/dense"), f"{name}/output/LayerNorm")
        return x

    def pooled(self, hidden):
        return np.tanh(self.dense(hidden[:, 0], "bert/pooler/dense"))

    def next_sentence(self, pooled):
        relation = "cls/seq_relationship"
        logits = pooled @ self.variables[f"{relation}/output_weights"].T
        return softmax(logits + self.variables[f"{relation}/output_bias"])

    def masked_language_logits(self, hidden):
        transform = "cls/predictions/transform"
        x = self.norm(gelu(self.dense(hidden, f"{transform}/dense")), f"{transform}/LayerNorm")
        logits = x @ self.variables["bert/embeddings/word_embeddings"].T
        return logits + self.variables["cls/predictions/output_bias"]


@pytest.fixture(scope="module")
def numpy_bert(tiny):
    return NumpyBert(tiny.variables, tiny.config["num_attention_heads"])


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


def test_encoder(bert4keras, paths, numpy_bert):
    found = bert4keras.run("predict", ROWS, **paths)
    assert found["meta"]["outputs"] == ["Transformer-1-FeedForward-Norm"]
    close(found["output_0"], numpy_bert.hidden(TOKEN_IDS, SEGMENT_IDS, 2))


def test_encoder_with_pool(bert4keras, paths, numpy_bert):
    found = bert4keras.run("predict", ROWS, **paths, with_pool=True)
    hidden = numpy_bert.hidden(TOKEN_IDS, SEGMENT_IDS, 2)
    assert found["meta"]["outputs"] == ["Pooler-Dense"]
    close(found["output_0"], numpy_bert.pooled(hidden))


def test_next_sentence_replaces_the_pooled_vector_and_mlm_comes_second(
    bert4keras, paths, numpy_bert
):
    found = bert4keras.run("predict", ROWS, **paths, with_nsp=True, with_mlm=True)
    hidden = numpy_bert.hidden(TOKEN_IDS, SEGMENT_IDS, 2)
    assert found["meta"]["outputs"] == ["NSP-Proba", "MLM-Activation"]
    close(found["output_0"], numpy_bert.next_sentence(numpy_bert.pooled(hidden)))
    close(found["output_1"], softmax(numpy_bert.masked_language_logits(hidden)))


def test_unilm_logits(bert4keras, paths, numpy_bert):
    found = bert4keras.run("predict", ROWS, **paths, application="unilm", with_mlm="linear")
    hidden = numpy_bert.hidden(TOKEN_IDS, SEGMENT_IDS, 2, unilm=True)
    close(found["output_0"], numpy_bert.masked_language_logits(hidden))


def test_keep_tokens(bert4keras, paths, numpy_bert):
    kept = [0, 2, 3, 7, 8, 9, 10, 11, 12, 49]
    new_ids = np.searchsorted(kept, TOKEN_IDS)
    rows = ROWS | {"token_ids": new_ids}
    found = bert4keras.run("predict", rows, **paths, with_mlm="linear", keep_tokens=kept)
    hidden = numpy_bert.hidden(TOKEN_IDS, SEGMENT_IDS, 2)
    close(found["output_0"], numpy_bert.masked_language_logits(hidden)[..., kept])


def test_output_of_an_inner_layer(bert4keras, paths, numpy_bert):
    found = bert4keras.run("predict", ROWS, **paths, layer="Transformer-0-FeedForward-Norm")
    close(found["output_0"], numpy_bert.hidden(TOKEN_IDS, SEGMENT_IDS, 1))


@pytest.mark.parametrize("name", ["model.h5", "model.weights.h5", "best_model.weights"])
def test_weight_files_reload(bert4keras, paths, tmp_path, name):
    options = {"path": tmp_path / name, "application": "unilm", "with_mlm": "linear"}
    saved = bert4keras.run("save_weights", **paths, **options)
    config_only = {"config_path": paths["config_path"], "seed": 3}
    loaded = bert4keras.run("load_weights_predict", ROWS, **config_only, **options)
    fresh = bert4keras.run("predict", ROWS, **paths, application="unilm", with_mlm="linear")
    np.testing.assert_array_equal(loaded["output_0"], fresh["output_0"])
    weights = sorted(key for key in saved if key.startswith("weight_"))
    assert len(weights) == 42
    for key in weights:
        np.testing.assert_array_equal(saved[key], loaded[key])


def test_weights_of_the_h5_file_are_those_of_the_layers(bert4keras, paths, tmp_path):
    saved = bert4keras.run("save_weights", **paths, path=tmp_path / "model.h5", with_pool=True)
    with h5py.File(tmp_path / "model.h5") as file:
        assert list(file.attrs["layer_names"]) == saved["meta"]["layers"]
        number = 0
        for layer in saved["meta"]["layers"]:
            names = list(file[layer].attrs["weight_names"])
            assert names == [name for name, _ in saved["meta"]["weights"].get(layer, [])]
            for name in names:
                np.testing.assert_array_equal(file[layer][name], saved[f"weight_{number}"])
                number += 1
    assert number == 39


def test_bert4keras_writes_googles_checkpoint(bert4keras_graph, paths, tiny, tmp_path):
    path = tmp_path / "out.ckpt"
    bert4keras_graph.run("save_checkpoint", **paths, path=path, with_nsp=True, with_mlm=True)
    bundle = TensorBundle(path)
    assert bundle.keys() == sorted(tiny.variables)
    for name, expected in tiny.variables.items():
        np.testing.assert_array_equal(bundle.read(name), expected)


def test_first_training_loss_is_the_cross_entropy(bert4keras, paths, numpy_bert):
    steps = {name: np.stack([array] * 3) for name, array in ROWS.items()}
    found = bert4keras.run("train_losses", steps, learning_rate=1e-2, **paths)
    hidden = numpy_bert.hidden(TOKEN_IDS, SEGMENT_IDS, 2, unilm=True)
    probabilities = softmax(numpy_bert.masked_language_logits(hidden))[:, :-1]
    targets, weights = TOKEN_IDS[:, 1:], SEGMENT_IDS[:, 1:]
    chosen = np.take_along_axis(probabilities, targets[..., None], -1)[..., 0]
    close(found["losses"][0], -(np.log(chosen) * weights).sum() / weights.sum())
    assert found["losses"][2] < found["losses"][1] < found["losses"][0]
    assert found["output_0"].shape == (2, 8, 50)


def test_decoding_from_a_table(bert4keras):
    generator = np.random.default_rng(0)
    table = generator.dirichlet(np.ones(5), (4, 5))
    found = bert4keras.run("beam_search", {"table": table}, end_id=4, maxlen=4, topk=1)
    greedy, token = [], 0
    for step in range(4):
        token = int(table[step, token].argmax())
        greedy.append(token)
        if token == 4:
            break
    assert found["output_0"].tolist() == greedy
    request = {"end_id": 4, "maxlen": 4, "n": 6, "topp": 1e-9, "seed": 1}
    samples = bert4keras.run("random_sample", {"table": table}, **request)
    assert samples["meta"]["counts"] == [6]
    assert all(samples[f"output_{i}"].tolist() == greedy for i in range(6))


def test_decoding_from_a_model(bert4keras, paths, numpy_bert):
    source = {"token_ids": TOKEN_IDS[:1, :4], "segment_ids": SEGMENT_IDS[:1, :4]}
    request = {"end_id": 3, "maxlen": 5, "topk": 1, "application": "unilm"}
    found = bert4keras.run("beam_search", source, **paths, **request)
    token_ids, segment_ids = source["token_ids"], source["segment_ids"]
    for token in found["output_0"]:
        hidden = numpy_bert.hidden(token_ids, segment_ids, 2, unilm=True)
        assert token == numpy_bert.masked_language_logits(hidden)[0, -1].argmax()
        token_ids = np.append(token_ids, [[token]], axis=1)
        segment_ids = np.append(segment_ids, [[1]], axis=1)


def test_layer_with_weights_mask_and_calls(bert4keras):
    generator = np.random.default_rng(0)
    arrays = {
        "logits": generator.normal(size=(1, 3, 2)).astype("float32"),
        "mask": np.array([[True, True, False]]),
        "labels": np.array([[0, 1, 0]]),
        "weight_0": np.array([[0.1, 0.7], [-0.4, 0.2]], "float32"),
    }
    calls = [{"method": "sparse_loss", "args": ["labels", "output"]}]
    request = {"name": "ConditionalRandomField", "inputs": "logits", "calls": calls}
    found = bert4keras.run("layer", arrays, **request, arguments={"mask": "mask"})
    first, second = arrays["logits"][0, :2].astype("float64")
    scores = first[:, None] + arrays["weight_0"] + second[None, :]
    close(found["call_0"], [np.log(np.exp(scores).sum()) - scores[0, 1]])
    assert np.isneginf(found["output_0"][0, 2]).all()


def test_functions_and_tokenizer(bert4keras, tiny):
    x = np.array([[0.5, -2.0]], "float32")
    found = bert4keras.run("function", {"x": x}, name="gelu_erf", args=["x"])
    close(found["output_0"], gelu(x))
    meta = bert4keras.run("tokenize", dict_path=tiny.dict_path, texts=["我很好", ["山", "水"]])[
        "meta"
    ]
    assert meta["tokens"][0] == ["[CLS]", "我", "很", "好", "[SEP]"]
    assert meta["ids"][0][0] == 2 and meta["segments"][1] == [0, 0, 0, 1, 1]
    simplified = bert4keras.run("tokenize", dict_path=tiny.dict_path, texts=["我"], simplified=True)
    assert simplified["meta"]["keep_tokens"][:4] == [0, 1, 2, 3]


def test_errors_carry_the_traceback_and_the_process_lives_on(bert4keras, paths):
    with pytest.raises(RuntimeError, match="No such file or directory: '/absent.json'"):
        bert4keras.run("predict", ROWS, config_path="/absent.json")
    with pytest.raises(RuntimeError, match="KeyError: 'unknown'"):
        bert4keras.run("unknown")
    assert "output_0" in bert4keras.run("predict", ROWS, **paths)
