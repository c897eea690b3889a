"""GPT, GPT-2, GPT2_ML and T5 in NumPy, float64, one text at a time."""

import math

import numpy as np


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


class NumpyDecoder:
    """A model's layers by name, as functions.

    Args:
        model: of `build_transformer_model`.
        heads: number of heads.
        epsilon: of normalization.
        act: activation of the feed-forward layers.
    """

    def __init__(self, model, heads=2, epsilon=1e-5, act=gelu_tanh):
        layers = model.blueprint.layers.items()
        self.weights = {n: [np.array(w, "float64") for w in x.get_weights()] for n, x in layers}
        self.heads, self.epsilon, self.act = heads, epsilon, act

    def norm(self, x, name):
        """With mean and offset, or T5's, which has a gain alone."""
        weights = self.weights[name]
        x = x if len(weights) == 1 else x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + self.epsilon) * weights[0]
        return x if len(weights) == 1 else x + weights[1]

    def feed_forward(self, x, name):
        weights = self.weights[name]
        if len(weights) == 4:
            return self.act(x @ weights[0] + weights[1]) @ weights[2] + weights[3]
        inner = self.act(x @ weights[0])
        return (inner if len(weights) == 2 else inner * (x @ weights[1])) @ weights[-1]

    def attention(self, x, name, seen, memory=None, bias=0):
        """`seen` bool and `bias` `(heads, queries, keys)`; T5's has four kernels, no scale."""
        weights, memory = self.weights[name], x if memory is None else memory
        pairs = list(zip(weights[::2], weights[1::2], strict=True))
        pairs = pairs if len(weights) == 8 else [(kernel, 0) for kernel in weights]
        q, k, v = (
            np.split(y @ kernel + offset, self.heads, -1)
            for y, (kernel, offset) in zip((x, memory, memory), pairs[:3], strict=True)
        )
        scale = q[0].shape[-1] ** -0.5 if len(weights) == 8 else 1
        bias = np.broadcast_to(bias, (self.heads, len(x), len(memory)))
        found = [
            softmax(np.where(seen, scale * one @ two.T + more, -np.inf)) @ three
            for one, two, three, more in zip(q, k, v, bias, strict=True)
        ]
        return np.concatenate(found, -1) @ pairs[3][0] + pairs[3][1]

    def gpt(self, token_ids, segment_ids=None, order="gpt"):
        """Logits `(length, vocabulary)`; `order` is that of the layers."""
        table = self.weights["Embedding-Token"][0]
        x = table[token_ids] + self.weights["Embedding-Position"][0][: len(token_ids)]
        if segment_ids is not None:
            x = x + self.weights.get("Embedding-Segment", [table])[0][segment_ids]
        x = self.norm(x, "Embedding-Norm") if order == "gpt2_ml" else x
        steps = np.arange(len(x))
        seen = (steps[None] <= steps[:, None]) & ((token_ids != 0) | (steps == 0))[None]
        for i in range(sum(name.endswith("FeedForward") for name in self.weights)):
            a, f = f"Transformer-{i}-MultiHeadSelfAttention", f"Transformer-{i}-FeedForward"
            if order == "gpt":
                x = self.norm(x + self.attention(x, a, seen), f"{a}-Norm")
                x = self.norm(x + self.feed_forward(x, f), f"{f}-Norm")
            elif order == "gpt2":
                x = x + self.attention(self.norm(x, f"{a}-Norm"), a, seen)
                x = x + self.feed_forward(self.norm(x, f"{f}-Norm"), f)
            else:
                x = x + self.attention(x, a, seen)
                x = self.norm(x + self.feed_forward(self.norm(x, f"{f}-Norm-0"), f), f"{f}-Norm-1")
        return (self.norm(x, "Output-Norm") if order == "gpt2" else x) @ table.T

    def t5(self, source, target, across=False, scaled=True):
        """Logits of `target`; `across`: whether the bias of positions counts across too."""
        seen = ((source != 0) | (np.arange(len(source)) == 0))[None]
        bias = self.bias("Encoder", len(source), len(source))
        memory = self.stack("Encoder", source, seen, bias)
        steps = np.arange(len(target))
        own = (steps[None] <= steps[:, None]) & ((target != 0) | (steps == 0))[None]
        bias = self.bias("Decoder", len(target), len(target))
        crossing = self.bias("Decoder", len(target), len(source)) if across else 0
        x = self.stack("Decoder", target, own, bias, (memory, seen, crossing))
        x = x * x.shape[-1] ** -0.5 if scaled else x
        head = self.weights.get("Decoder-Output-LM")
        return x @ (self.weights["Embedding-Token"][0].T if head is None else head[0])

    def stack(self, stack, ids, seen, bias, memory=None):
        x = self.weights["Embedding-Token"][0][ids]
        names = [n for n in self.weights if n.startswith(stack) and n.endswith("FeedForward")]
        for i in range(len(names)):
            name = f"{stack}-Transformer-{i}"
            a, c, f = (
                f"{name}-{part}"
                for part in ("MultiHeadSelfAttention", "MultiHeadCrossAttention", "FeedForward")
            )
            x = x + self.attention(self.norm(x, f"{a}-Norm"), a, seen, bias=bias)
            if memory is not None:
                states, visible, crossing = memory
                y = self.norm(x, f"{c}-Norm")
                x = x + self.attention(y, c, visible, states, crossing)
            x = x + self.feed_forward(self.norm(x, f"{f}-Norm"), f)
        return self.norm(x, f"{stack}-Output-Norm")

    def bias(self, stack, queries, keys):
        """T5's, of distances below 8, which have ranges of their own."""
        distances = np.arange(queries)[:, None] - np.arange(keys)
        assert abs(distances).max() <= 8
        later = 16 * (distances < 0) if stack == "Encoder" else 0
        size = abs(distances) if stack == "Encoder" else np.maximum(distances, 0)
        table = self.weights[f"{stack}-Embedding-Relative-Position"][0]
        return np.moveaxis(table[later + size], -1, 0)
