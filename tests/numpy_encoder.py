"""BERT and its relatives in NumPy, float64, from the variables of a Google checkpoint."""

import math

import numpy as np

erf = np.vectorize(math.erf)
ACTIVATIONS = {
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "relu": lambda x: np.maximum(x, 0),
}
BERT_BLOCK = {
    "inputs": "{root}/encoder/layer_{index}/attention/self",
    "output": "{root}/encoder/layer_{index}/attention/output/dense",
    "norm_1": "{root}/encoder/layer_{index}/attention/output/LayerNorm",
    "inner": "{root}/encoder/layer_{index}/intermediate/dense",
    "outer": "{root}/encoder/layer_{index}/output/dense",
    "norm_2": "{root}/encoder/layer_{index}/output/LayerNorm",
}
GROUP = "{root}/encoder/transformer/group_0/inner_group_0"
ALBERT_BLOCK = {
    "inputs": f"{GROUP}/attention_1/self",
    "output": f"{GROUP}/attention_1/output/dense",
    "norm_1": f"{GROUP}/LayerNorm",
    "inner": f"{GROUP}/ffn_1/intermediate/dense",
    "outer": f"{GROUP}/ffn_1/intermediate/output/dense",
    "norm_2": f"{GROUP}/LayerNorm_1",
}


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def turned(x):
    """Rotary positions of `(length, size)`: pairs of features as complex numbers."""
    size = x.shape[-1]
    angles = np.arange(len(x))[:, None] * 10000.0 ** (-2 * np.arange(size // 2) / size)
    pairs = (x[:, ::2] + 1j * x[:, 1::2]) * np.exp(1j * angles)
    return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)


def vectors_of_distances(length, size, longest):
    """NEZHA's `(length, length, size)`."""
    distances = np.arange(length)[None] - np.arange(length)[:, None]
    places = np.clip(distances, -longest, longest) + longest
    angles = places[..., None] * 10000.0 ** (-2 * (np.arange(size) // 2) / size)
    return np.where(np.arange(size) % 2, np.cos(angles), np.sin(angles))


class NumpyEncoder:
    """One text at a time.

    Args:
        variables: arrays by Google's names.
        depth, heads: numbers of blocks and of heads.
        application: "encoder", "lm" or "unilm".
        act: name of the activation.
        position: None: learned; or "rotary", "relative".
        longest: the longest of relative distances.
        block: names of the parts of a block.
        root: what names begin with.
        mapping: name of the dense layer from narrow embeddings.
    """

    def __init__(
        self,
        variables,
        depth=2,
        heads=2,
        application="encoder",
        act="gelu",
        position=None,
        longest=64,
        block=BERT_BLOCK,
        root="bert",
        mapping="bert/encoder/embedding_hidden_mapping_in",
    ):
        self.variables = {name: np.asarray(v, "float64") for name, v in variables.items()}
        self.depth, self.heads, self.application = depth, heads, application
        self.act, self.position, self.longest = ACTIVATIONS[act], position, longest
        self.block, self.root, self.mapping = block, root, mapping

    def dense(self, x, name):
        return x @ self.variables[f"{name}/kernel"] + self.variables.get(f"{name}/bias", 0)

    def norm(self, x, name):
        if f"{name}/gamma" not in self.variables:
            return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-7)
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12)
        return x * self.variables[f"{name}/gamma"] + self.variables[f"{name}/beta"]

    def hidden(self, token_ids, segment_ids):
        """`(length, hidden size)` of ids `(length,)`."""
        embeddings = f"{self.root}/embeddings"
        x = self.variables[f"{embeddings}/word_embeddings"][token_ids]
        x = x + self.variables[f"{embeddings}/token_type_embeddings"][segment_ids]
        if self.position is None:
            x = x + self.variables[f"{embeddings}/position_embeddings"][: len(x)]
        x = self.norm(x, f"{embeddings}/LayerNorm")
        if f"{self.mapping}/kernel" in self.variables:
            x = self.dense(x, self.mapping)
        steps = np.arange(len(x))
        order = {"encoder": 0 * steps, "lm": steps, "unilm": np.cumsum(segment_ids)}
        order = order[self.application]
        seen = (order[None] <= order[:, None]) & ((token_ids != 0) | (steps == 0))[None]
        for index in range(self.depth):
            names = {k: v.format(root=self.root, index=index) for k, v in self.block.items()}
            x = self.norm(x + self.attention(x, names, seen), names["norm_1"])
            inner = self.act(self.dense(x, names["inner"]))
            x = self.norm(x + self.dense(inner, names["outer"]), names["norm_2"])
        return x

    def attention(self, x, names, seen):
        projected = (self.dense(x, f"{names['inputs']}/{n}") for n in ("query", "key", "value"))
        found = []
        for q, k, v in zip(*(np.split(y, self.heads, -1) for y in projected), strict=True):
            if self.position == "rotary":
                q, k = turned(q), turned(k)
            scores, vectors = q @ k.T, 0
            if self.position == "relative":
                vectors = vectors_of_distances(len(x), q.shape[-1], self.longest)
                scores = scores + np.einsum("id,ijd->ij", q, vectors)
            weights = softmax(np.where(seen, scores / math.sqrt(q.shape[-1]), -np.inf))
            found.append(np.einsum("ij,ijd->id", weights, v[None] + vectors))
        return self.dense(np.concatenate(found, -1), names["output"])

    def logits(self, token_ids, segment_ids):
        """Those of the language model, `(length, vocabulary)`."""
        x, head = self.hidden(token_ids, segment_ids), "cls/predictions"
        if f"{head}/transform/dense/kernel" in self.variables:
            x = self.act(self.dense(x, f"{head}/transform/dense"))
            x = self.norm(x, f"{head}/transform/LayerNorm")
        elif f"{head}/hidden_embedding_mapping_out/kernel" in self.variables:
            x = self.dense(x, f"{head}/hidden_embedding_mapping_out")
        table = self.variables[f"{self.root}/embeddings/word_embeddings"]
        return x @ table.T + self.variables.get(f"{head}/output_bias", 0)
