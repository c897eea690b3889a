"""The program that runs bert4keras 0.11.5, in a process of its own.

bert4keras needs the environment `TF_KERAS=1 TF_USE_LEGACY_KERAS=1` and puts `tf.keras` in the
place of `keras` for the whole process, so the tests talk to it through files:

    python reference.py request.json arrays_in.npz arrays_out.npz

The request is a JSON object: `command` names one of the functions below, the other members are
its keyword arguments. Arrays come and go as NPZ; the answer also holds `meta`, a JSON string.
Started with the single argument `--serve` the program stays, reads lines of JSON with the paths
`request`, `arrays_in`, `arrays_out`, and answers each with the line `{"error": null}` or the
traceback in place of null.

Keyword arguments that a command does not have itself go to `build_transformer_model`.
"""

import json
import os
import sys
import traceback

os.environ["TF_KERAS"] = "1"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

tf.keras.optimizers.Optimizer = tf.keras.optimizers.legacy.Optimizer
if os.environ.get("REFERENCE_GRAPH_MODE") == "1":
    tf.compat.v1.disable_v2_behavior()
    tf.Session = tf.compat.v1.Session
    tf.train.Saver = tf.compat.v1.train.Saver

from bert4keras import backend, layers, models, optimizers, snippets, tokenizers  # noqa: E402

K = backend.K
COMMANDS = {}
MODULES = {"backend": backend, "layers": layers, "snippets": snippets}


def command(function):
    COMMANDS[function.__name__] = function
    return function


def build(arrays, seed=0, gelu="erf", **options):
    """A bert4keras model. `keep_tokens` may also come as an array; `gelu` is erf or tanh."""
    K.clear_session()
    backend.set_gelu(gelu)
    tf.compat.v1.set_random_seed(seed)
    if "keep_tokens" in arrays:
        options["keep_tokens"] = arrays["keep_tokens"].tolist()
    if "compound_tokens" in options:  # JSON has no tuples, which are pairs of ids and weights
        items = options["compound_tokens"]
        options["compound_tokens"] = [tuple(i) if isinstance(i[0], list) else i for i in items]
    return models.build_transformer_model(**options)


def names_and_shapes(layer):
    return [[weight.name, list(K.int_shape(weight))] for weight in layer.weights]


def describe(model):
    """Names of the layers and, of those with weights, their names and shapes in order."""
    return {
        "layers": [layer.name for layer in model.layers],
        "classes": {layer.name: type(layer).__name__ for layer in model.layers},
        "inputs": list(model.input_names),
        "outputs": list(model.output_names),
        "weights": {layer.name: names_and_shapes(layer) for layer in model.layers if layer.weights},
    }


def numbered(prefix, values):
    if isinstance(values, list | tuple):
        return {f"{prefix}_{i}": np.asarray(value) for i, value in enumerate(values)}
    return {f"{prefix}_0": np.asarray(values)}


def run_model(model, arrays):
    """Predictions for all rows of the arrays named like the inputs, in one batch."""
    names = ["token_ids", "segment_ids", "position_ids"][: len(model.inputs)]
    inputs = [arrays[name] for name in names]
    return model.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])


@command
def predict(arrays, layer=None, **options):
    """`output_0`, ... of the model, or of its layer named `layer`."""
    model = build(arrays, **options)
    meta = describe(model)
    if layer is not None:
        model = backend.keras.models.Model(model.inputs, model.get_layer(layer).output)
    return numbered("output", run_model(model, arrays)), meta


@command
def predict_with_condition(arrays, **options):
    """As `predict`, of a model whose normalizations depend on the embedding of `labels`.

    Answers with the weights `weight_0`, ... too, which are random here, zero kernels included.
    """
    labels = backend.keras.layers.Input((1,))
    condition = backend.keras.layers.Embedding(4, 5, name="Label")(labels)
    condition = backend.keras.layers.Reshape((5,))(condition)
    options |= {"layer_norm_cond": condition, "additional_input_layers": labels}
    model = build(arrays, **options)
    generator = np.random.default_rng(0)
    model.set_weights([w + generator.normal(0, 0.2, w.shape) for w in model.get_weights()])
    inputs = [arrays["token_ids"], arrays["segment_ids"], arrays["labels"]]
    answer = numbered("output", model.predict_on_batch(inputs))
    for layer in model.layers:
        answer |= {f"{layer.name}|{i}": w for i, w in enumerate(layer.get_weights())}
    return answer, describe(model)


@command
def save_weights(arrays, path, **options):
    """Writes `model.save_weights(path)`; answers with the weights `weight_0`, ... in order."""
    model = build(arrays, **options)
    model.save_weights(path)
    return numbered("weight", model.get_weights()), describe(model)


@command
def load_weights_predict(arrays, path, **options):
    """Builds the model, loads what `save_weights` or `model.save_weights` wrote, predicts."""
    model = build(arrays, **options)
    model.load_weights(path)
    answer = numbered("output", run_model(model, arrays))
    return answer | numbered("weight", model.get_weights()), describe(model)


@command
def save_checkpoint(arrays, path, **options):
    """Writes a checkpoint in Google's format with bert4keras's own function.

    That function is written for TensorFlow 1: it works in graph mode only (the fixture
    `bert4keras_graph`, or REFERENCE_GRAPH_MODE=1 in the environment).
    """
    transformer = build(arrays, return_keras_model=False, **options)
    transformer.save_weights_as_checkpoint(path)
    answer = numbered("weight", transformer.model.get_weights())
    return answer, describe(transformer.model) | {"mapping": transformer.variable_mapping()}


class CrossEntropy(layers.Loss):
    """Mean of -log p(next token) over the tokens of the second segment: the ape210k loss."""

    def compute_loss(self, inputs, mask=None):
        token_ids, segment_ids, probabilities = inputs
        targets, weights = token_ids[:, 1:], K.cast(segment_ids[:, 1:], K.floatx())
        losses = K.sparse_categorical_crossentropy(targets, probabilities[:, :-1])
        return K.sum(losses * weights) / K.sum(weights)


@command
def train_losses(arrays, learning_rate, **options):
    """Loss of each step of Adam on fixed batches, without dropout, and what it leads to.

    `token_ids`, `segment_ids`: (steps, batch, length). Answers with `losses` (steps,), the
    trained weights `weight_0`, ... and `output_0`, the probabilities for the first batch.
    """
    options = {"application": "unilm", "dropout_rate": 0.0, "attention_dropout_rate": 0.0} | options
    model = build(arrays, **options)
    trainer = backend.keras.models.Model(
        model.inputs, CrossEntropy(2)(model.inputs + model.outputs)
    )
    trainer.compile(optimizer=optimizers.Adam(learning_rate))
    losses = [
        trainer.train_on_batch([token_ids, segment_ids])
        for token_ids, segment_ids in zip(arrays["token_ids"], arrays["segment_ids"], strict=True)
    ]
    first = {name: arrays[name][0] for name in ("token_ids", "segment_ids")}
    answer = numbered("output", run_model(model, first)) | numbered("weight", model.get_weights())
    return answer | {"losses": np.array(losses)}, describe(model)


class TableDecoder(snippets.AutoRegressiveDecoder):
    """Decodes with p(next | step, previous token) read from a table (steps, V, V).

    Before the first token the row of `start_id` counts, or row 0 where there is none.
    """

    def configure(self, table):
        self.table = table
        return self

    @snippets.AutoRegressiveDecoder.wraps(default_rtype="probas")
    def predict(self, inputs, output_ids, states):
        step = output_ids.shape[1] - self.first_output_ids.shape[1]
        previous = output_ids[:, -1] if output_ids.shape[1] else np.zeros(len(output_ids), int)
        return self.table[step, previous].copy()


class ModelDecoder(snippets.AutoRegressiveDecoder):
    """Decodes with a UniLM: the inputs are token and segment ids, the output has segment 1."""

    def configure(self, model):
        self.model = model
        return self

    @snippets.AutoRegressiveDecoder.wraps(default_rtype="probas")
    def predict(self, inputs, output_ids, states):
        token_ids = np.concatenate([inputs[0], output_ids], axis=1)
        segment_ids = np.concatenate([inputs[1], np.ones_like(output_ids)], axis=1)
        return self.model.predict_on_batch([token_ids, segment_ids])[:, -1]


def decode(arrays, method, arguments, end_id, maxlen, start_id, minlen, options):
    if "table" in arrays:
        decoder = TableDecoder(start_id, end_id, maxlen, minlen).configure(arrays["table"])
        samples = [[np.zeros(1)]]
    else:
        decoder = ModelDecoder(start_id, end_id, maxlen, minlen).configure(build(arrays, **options))
        samples = list(zip(arrays["token_ids"], arrays["segment_ids"], strict=True))
    return [getattr(decoder, method)(sample, **arguments) for sample in samples]


@command
def beam_search(
    arrays, end_id, maxlen, topk, start_id=None, minlen=1, temperature=1, min_ends=1, **options
):
    """`output_i`: the ids decoded for row i of `token_ids`, or from the one `table`."""
    arguments = {"topk": topk, "temperature": temperature, "min_ends": min_ends}
    decoded = decode(arrays, "beam_search", arguments, end_id, maxlen, start_id, minlen, options)
    return numbered("output", decoded), {}


@command
def random_sample(
    arrays, end_id, maxlen, n, topk=None, topp=None, start_id=None, minlen=1, temperature=1,
    min_ends=1, seed=0, **options,
):  # fmt: skip
    """`output_i`: the samples, those of each row together; `meta["counts"]`: how many a row has."""
    arguments = {"n": n, "topk": topk, "topp": topp, "temperature": temperature}
    arguments["min_ends"] = min_ends
    np.random.seed(seed)
    decoded = decode(arrays, "random_sample", arguments, end_id, maxlen, start_id, minlen, options)
    samples = [np.asarray(ids) for row in decoded for ids in row]
    return numbered("output", samples), {"counts": [len(row) for row in decoded]}


def resolve(value, arrays):
    """Replaces the names of arrays, also inside lists, by tensors of them."""
    if isinstance(value, list):
        return [resolve(item, arrays) for item in value]
    if isinstance(value, str) and value in arrays:
        return tf.constant(arrays[value])
    return value


@command
def layer(arrays, name, inputs, config=None, arguments=None, calls=()):
    """Applies a layer of bert4keras.

    Args:
        name: Class in `bert4keras.layers`, such as "ConditionalRandomField".
        inputs: Name of an array, or a list of them.
        config: Keyword arguments of the class.
        arguments: Keyword arguments of the call; strings that name arrays stand for them.
        calls: Methods to call after it: `{"method": ..., "args": [...], "kwargs": {...}}`. In
            their arguments "output" stands for what the layer put out.

    The arrays `weight_0`, ... are set as the layer's weights. Answers with `output_0`, ... and
    `call_0`, ...: what each method gave.
    """
    K.clear_session()
    instance = getattr(layers, name)(**(config or {}))
    arguments = {key: resolve(value, arrays) for key, value in (arguments or {}).items()}
    output = instance(resolve(inputs, arrays), **arguments)
    weights = sorted((key for key in arrays if key.startswith("weight_")), key=lambda k: int(k[7:]))
    if weights:
        instance.set_weights([arrays[key] for key in weights])
        output = instance(resolve(inputs, arrays), **arguments)
    known = arrays | ({} if isinstance(output, list) else {"output": output})
    answer = numbered("output", output)
    for i, call in enumerate(calls):
        kwargs = {key: resolve(value, known) for key, value in call.get("kwargs", {}).items()}
        result = getattr(instance, call["method"])(*resolve(call.get("args", []), known), **kwargs)
        answer[f"call_{i}"] = np.asarray(result)
    return answer, {"weights": names_and_shapes(instance)}


@command
def label_layer(arrays, name, lr_multiplier, starts=None, ends=None):
    """Loss, accuracy, transitions and best paths of a CRF or MEMM; `mask` is optional."""
    tested = getattr(layers, name)(lr_multiplier=lr_multiplier)
    mask = arrays.get("mask")
    mask = None if mask is None else K.constant(mask, dtype="bool")
    output = tested(K.constant(arrays["logits"]), mask=mask)
    K.set_value(tested._trans, arrays["trans"])
    y = K.constant(arrays["y"], dtype="int32")
    trans = K.eval(tested.trans)
    decoder = snippets.ViterbiDecoder(trans=trans, starts=starts, ends=ends)
    return {
        "loss": K.eval(tested.sparse_loss(y, output)),
        "accuracy": np.array(K.eval(tested.sparse_accuracy(y, output))).mean(),
        "trans": trans,
        "paths": np.array([decoder.decode(logits) for logits in arrays["logits"]]),
    }, {}


@command
def optimize(arrays, name, steps, config=None):
    """Steps of an optimizer of bert4keras with given gradients.

    Args:
        name: Class in `bert4keras.optimizers`, such as "AdaFactor".
        steps: Their number.
        config: Keyword arguments of the class.

    `weight_0`, ... are the weights at the start, `gradient_0`, ... (steps, ...) their gradients.
    Answers with `path_0`, ...: the weights after each step.
    """
    K.clear_session()
    optimizer = getattr(optimizers, name)(**(config or {}))
    count = sum(key.startswith("weight_") for key in arrays)
    weights = [tf.Variable(arrays[f"weight_{i}"]) for i in range(count)]
    path = []
    for step in range(steps):
        gradients = [tf.constant(arrays[f"gradient_{i}"][step]) for i in range(count)]
        optimizer.apply_gradients(list(zip(gradients, weights, strict=True)))
        path.append([weight.numpy() for weight in weights])
    return {f"path_{i}": np.array([found[i] for found in path]) for i in range(count)}, {}


@command
def function(arrays, name, args, kwargs=None, module="backend"):
    """Calls a function of `bert4keras.backend`, `layers` or `snippets`; see `layer` for `args`."""
    kwargs = {key: resolve(value, arrays) for key, value in (kwargs or {}).items()}
    return numbered("output", getattr(MODULES[module], name)(*resolve(args, arrays), **kwargs)), {}


@command
def tokenize(arrays, dict_path, texts, maxlen=None, do_lower_case=True, simplified=False):
    """`meta`: `tokens`, `ids`, `segments`, `decoded` of texts or [first, second] pairs.

    With `simplified` it also has bert4keras's list `keep_tokens`.
    """
    vocabulary, keep_tokens = dict_path, None
    if simplified:
        startswith = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        vocabulary, keep_tokens = tokenizers.load_vocab(
            dict_path, simplified=True, startswith=startswith
        )
    tokenizer = tokenizers.Tokenizer(vocabulary, do_lower_case=do_lower_case)
    pairs = [[text, None] if isinstance(text, str) else text for text in texts]
    encoded = [tokenizer.encode(first, second, maxlen=maxlen) for first, second in pairs]
    return {}, {
        "tokens": [tokenizer.tokenize(first) for first, _ in pairs],
        "ids": [[int(i) for i in ids] for ids, _ in encoded],
        "segments": [[int(i) for i in segments] for _, segments in encoded],
        "decoded": [tokenizer.decode(ids) for ids, _ in encoded],
        "keep_tokens": keep_tokens,
    }


def answer(request_path, arrays_in, arrays_out):
    with open(request_path, encoding="utf-8") as file:
        request = json.load(file)
    with np.load(arrays_in) as archive:
        arrays = {name: archive[name] for name in archive.files}
    outputs, meta = COMMANDS[request.pop("command")](arrays, **request)
    np.savez(arrays_out, meta=np.array(json.dumps(meta)), **outputs)


def serve(answers):
    for line in sys.stdin:
        paths, error = json.loads(line), None
        try:
            answer(paths["request"], paths["arrays_in"], paths["arrays_out"])
        except Exception:
            error = traceback.format_exc()
        answers.write(json.dumps({"error": error}) + "\n")
        answers.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        with os.fdopen(os.dup(1), "w") as stream:
            os.dup2(2, 1)
            serve(stream)
    else:
        answer(*sys.argv[1:])
