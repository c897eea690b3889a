"""How a transformer attends while it decodes: the prompt, a step, a part of a history, moves.

Each is called as `attend(attention, x, index)` by `Blueprint.run`: with the attention layer of a
block, its input `(batch, length, features)` and the number of the block; the keys and values of
a block are kept under that number, so that blocks that share one layer have caches of their own.
A fourth argument, a `Memory`, says that x attends to what an encoder has read.
"""

from keras import ops

from kexue_keras.layers.attention_part import AttentionPart, heads_first


class _Attender:
    """Projects, attends to the parts that `parts` gives, merges the heads.

    Args:
        blueprint: the `Blueprint` that runs.
        positions: int32 of the queries, `(queries,)`, `(batch, queries)` or `(batch, 1)`.
    """

    def __init__(self, blueprint, positions):
        self.blueprint = blueprint
        self.positions = positions
        self._biases = {}

    def __call__(self, attention, x, index, memory=None):
        query = attention.project_query(x, self.positions)
        if memory is None:
            key = attention.project_key(x, self.positions)
            parts, bias = self.parts(key, attention.project_value(x), index), "position_bias"
        else:
            pair, bias = self.of_memory(attention, memory, index), "memory_bias"
            places = ops.arange(pair[0].shape[2], dtype="int32")
            parts = [AttentionPart(*pair, memory.visible, places)]
        parts = [
            part._replace(bias=self._bias(bias, place, part)) for place, part in enumerate(parts)
        ]
        return attention.merge_heads(attention.attend(query, parts, self.positions))

    def _bias(self, name, place, part):
        """The bias of a part, which stands at the same place in all blocks."""
        if (name, place) not in self._biases:
            positions = self.positions, part.positions
            queries, keys = (x[None] if len(x.shape) == 1 else x for x in positions)
            self._biases[name, place] = getattr(self.blueprint, name)(queries, keys)
        return self._biases[name, place]

    def of_memory(self, attention, memory, index):
        """Keys and values `(batch, heads, source, size)` of a `Memory`."""
        key, value = attention.project_key(memory.states), attention.project_value(memory.states)
        return heads_first(key), heads_first(value)

    def parts(self, key, value, index):
        """List of `AttentionPart`, given new keys and values `(batch, length, heads, size)`."""
        raise NotImplementedError


class Prefill(_Attender):
    """Reads prompts and keeps their keys and values in `caches`, a list by block.

    Those of what an encoder has read are kept in `memories`.

    Args:
        visible: bool `(batch, length or 1, length)`, who sees whom.
        blueprint, positions: see above.
    """

    def __init__(self, blueprint, positions, visible):
        super().__init__(blueprint, positions)
        self.visible = visible
        self.caches, self.memories = [], []

    def parts(self, key, value, index):
        key, value = heads_first(key), heads_first(value)
        self.caches.append((key, value))
        return [AttentionPart(key, value, self.visible, self.positions)]

    def of_memory(self, attention, memory, index):
        self.memories.append(super().of_memory(attention, memory, index))
        return self.memories[-1]


class Step(_Attender):
    """Reads one more token of every hypothesis: it sees the prompt and what was generated.

    Args:
        source: what the prefill knows of the prompts: "caches" of their keys and values by block,
            "visible" bool `(batch, 1, source)`, "positions" int32 `(source,)`; "memories", keys and
            values of what an encoder has read by block.
        cache: keys and values of generated tokens by block, `(batch, heads, steps * slots, size)`
            shared by all hypotheses, or `(batch, slots, heads, steps, size)`.
        index: number of this step.
        visible: bool `(batch, slots, keys)`, which generated tokens each hypothesis sees.
        generated_positions: int32 `(batch, keys)`, where these stand.
        blueprint, positions: see above.

    Attributes:
        updated: the caches with the new tokens, by block.
    """

    def __init__(self, blueprint, positions, source, cache, index, visible, generated_positions):
        super().__init__(blueprint, positions)
        self.source, self.cache, self.index = source, cache, index
        self.visible, self.generated_positions = visible, generated_positions
        self.updated = []

    def parts(self, key, value, index):
        stores = [self._store(*pair) for pair in zip(self.cache[index], (key, value), strict=True)]
        self.updated.append(tuple(stores))
        source = self.source
        return [
            AttentionPart(*source["caches"][index], source["visible"], source["positions"]),
            AttentionPart(*stores, self.visible, self.generated_positions),
        ]

    def of_memory(self, attention, memory, index):
        return self.source["memories"][index]

    def _store(self, cache, new):
        """Writes keys or values `(batch, slots, heads, size)` into the cache of a block."""
        new = ops.cast(new, cache.dtype)
        if len(cache.shape) == 4:
            place = (0, 0, self.index * new.shape[1], 0)
            return ops.slice_update(cache, place, heads_first(new))
        return ops.slice_update(cache, (0, 0, 0, self.index, 0), new[:, :, :, None])


class Extend(_Attender):
    """Reads one more piece of a text that stands at `start` into a cache of the whole text.

    Args:
        cache: keys and values by block, `(1, heads, longest, size)`.
        start: int32 scalar.
        blueprint, positions: see above; positions `(queries,)`.

    Attributes:
        updated: the caches with the new tokens, by block.
    """

    def __init__(self, blueprint, positions, cache, start):
        super().__init__(blueprint, positions)
        self.cache, self.start = cache, start
        self.updated = []

    def parts(self, key, value, index):
        stores = [
            ops.slice_update(old, (0, 0, self.start, 0), ops.cast(heads_first(new), old.dtype))
            for old, new in zip(self.cache[index], (key, value), strict=True)
        ]
        self.updated.append(tuple(stores))
        places = ops.arange(stores[0].shape[2], dtype="int32")
        seen = places[None] <= self.positions[:, None]
        return [AttentionPart(*stores, seen[None], places)]


class Continuations(_Attender):
    """Reads many short continuations of one text, each from a place of its own.

    Args:
        cache: keys and values of the text by block, `(1, heads, longest, size)`.
        lengths: int32 `(continuations,)`, how much of the text comes before each.
        blueprint, positions: see above; positions `(continuations, queries)`.
    """

    def __init__(self, blueprint, positions, cache, lengths):
        super().__init__(blueprint, positions)
        self.cache, self.lengths = cache, lengths

    def parts(self, key, value, index):
        of_text = [kept[0] for kept in self.cache[index]]
        places = ops.arange(of_text[0].shape[1], dtype="int32")
        steps = ops.arange(key.shape[1])
        before = places[None] < self.lengths[:, None]
        own = steps[None] <= steps[:, None]
        return [
            AttentionPart(*of_text, before[:, None], places),
            AttentionPart(heads_first(key), heads_first(value), own[None], self.positions),
        ]
