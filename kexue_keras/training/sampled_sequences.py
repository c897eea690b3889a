"""Texts that a language model writes, with their rewards, as batches to train it on."""

import keras
import numpy as np

from kexue_keras import backend

BASELINES = ("leave_one_out", None)


class SampledSequences(keras.utils.PyDataset):
    r"""The policy gradient on sequences, for an ordinary compiled model.

    Every epoch is a round: at its beginning the generator draws `n` continuations $y_i$ of some
    prompts with the weights as they are, a Python function rewards them, and the batches of the
    epoch are these texts with their advantages $r_i - b_i$ as sample weights. Compiled with
    `losses.SequenceCrossentropy`, a step then descends
    $-\sum_i (r_i - b_i) \log p(y_i) / \text{tokens}$, whose negative is an estimate of the gradient
    of the expected reward. $b_i$ is the mean reward of the prompt's other samples, which does not
    depend on $y_i$, so that the estimate has no bias; with `baseline=None` it is 0. The estimate is
    that of the current weights in the first step of a round; the later ones follow texts that
    slightly older weights wrote, so make rounds short.

    Call `fit(rounds, shuffle=False, callbacks=[rounds.callback()], epochs=...)`. The callback draws
    the rounds, and adds `reward`, the mean reward of the round's texts, to the logs and so to the
    history. All batches have the same shapes, so that no step is compiled twice. The prompts and
    texts of a round depend on `seed`, its number and the weights alone: with `initial_epoch` an
    interrupted training continues.

    A batch is `([token_ids, segment_ids, target_positions], targets, sample_weight)`, for a UniLM
    of `build_transformer_model(..., application="unilm", with_mlm="linear",
    target_positions=True)`: prompt and text one after the other, segment 0 and 1, the model
    predicting `targets[i]` at position `target_positions[i]`. What fills it up is zeros; rows that
    complete the last batch have no targets and the weight 0. A text that was cut off at the
    generator's `maxlen` is learned without an end.

    Args:
        generator: `decoding.Generator` of the model that is trained.
        prompts: list of lists of token ids, `[CLS] question [SEP]`.
        reward: `reward(index, ids)` to a number: the index of the prompt in `prompts` and the list
            of ids of a text, its `end_id` included. Any Python function.
        n: texts for a prompt.
        batch_size: texts in a batch.
        prompts_per_round: prompts in a round, drawn without repetition; None: all.
        baseline: "leave_one_out" or None.
        seed: non-negative integer.
        **kwargs: of `keras.utils.PyDataset`.

    Raises:
        ValueError: a bad argument, or a reward that is not finite.

    Example:

    >>> from kexue_keras import decoding, losses, models, training
    >>> model = models.Bert(9, 8, 1, 2, 16, application="unilm", with_mlm="linear",
    ...     max_position=12, target_positions=True)
    >>> generator = decoding.Generator(model, end_id=3, maxlen=4)
    >>> rounds = training.SampledSequences(
    ...     generator, [[2, 5, 3], [2, 6, 7, 3]], lambda index, ids: len(ids), n=2, batch_size=4)
    >>> model.compile("adam", losses.SequenceCrossentropy())
    >>> options = {"shuffle": False, "callbacks": [rounds.callback()], "verbose": 0}
    >>> sorted(model.fit(rounds, **options).history)
    ['loss', 'reward']

    Reference: https://kexue.fm/archives/7737; Williams 1992, https://doi.org/10.1007/BF00992696
    """

    def __init__(
        self,
        generator,
        prompts,
        reward,
        n=4,
        batch_size=32,
        prompts_per_round=None,
        baseline="leave_one_out",
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not len(prompts) or not all(len(prompt) for prompt in prompts):
            raise ValueError("`prompts` must be lists of ids. Received: none, or an empty one")
        count = len(prompts) if prompts_per_round is None else prompts_per_round
        numbers = (("n", n), ("batch_size", batch_size), ("prompts_per_round", count))
        for name, value in numbers:
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {value}")
        if count > len(prompts):
            raise ValueError(
                f"`prompts_per_round` must be at most {len(prompts)}, the number of prompts. "
                f"Received: {count}"
            )
        if baseline not in BASELINES:
            raise ValueError(f"`baseline` must be one of {BASELINES}. Received: {baseline!r}")
        if baseline and n < 2:
            raise ValueError(f"`n` must be at least 2 for the baseline {baseline!r}. Received: {n}")
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"`seed` must be a non-negative integer. Received: {seed}")
        if not callable(reward):
            raise ValueError(f"`reward` must be a callable. Received: {reward!r}")
        self.generator = generator
        self.prompts = [list(prompt) for prompt in prompts]
        self.reward = reward
        self.n = n
        self.batch_size = batch_size
        self.prompts_per_round = count
        self.baseline = baseline
        self.seed = seed
        self.length = max(map(len, self.prompts)) + generator.maxlen
        self._round = None

    def __len__(self):
        return -(-self.prompts_per_round * self.n // self.batch_size)

    def __getitem__(self, index):
        """Batch `index` of the round; the round 0 if none was drawn yet."""
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be below {len(self)}. Received: {index}")
        if self._round is None:
            self.draw(0)
        rows, advantages, _ = self._round
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self._arrange(rows[part], advantages[part])

    @property
    def mean_reward(self):
        """Of the texts of the round; None before the first."""
        return None if self._round is None else self._round[2]

    def draw(self, number):
        """Draws a round with the weights as they are.

        Args:
            number: of the round, from 0; with `seed` it decides what is drawn.
        """
        rng = np.random.default_rng((self.seed, number))
        chosen = rng.permutation(len(self.prompts))[: self.prompts_per_round].tolist()
        rows, rewards = [], []
        for start in range(0, len(chosen), self.batch_size):
            part = chosen[start : start + self.batch_size]
            texts = self.generator.random_sample(
                [self.prompts[i] for i in part], n=self.n, seed=int(rng.integers(1 << 31))
            )
            rows += [(i, ids) for i, found in zip(part, texts, strict=True) for ids in found]
        for i, ids in rows:
            rewards.append(float(self.reward(i, list(ids))))
            if not np.isfinite(rewards[-1]):
                raise ValueError(
                    f"`reward` must return finite numbers. Received: {rewards[-1]} for prompt {i} "
                    f"and the text {ids}"
                )
        rewards = np.array(rewards).reshape(-1, self.n)
        advantages = rewards
        if self.baseline:
            others = (rewards.sum(1, keepdims=True) - rewards) / (self.n - 1)
            advantages = rewards - others
        order = rng.permutation(len(rows))
        advantages = advantages.ravel()[order].astype("float32")
        self._round = [rows[i] for i in order], advantages, float(rewards.mean())

    def callback(self):
        """Draws a round at the beginning of every epoch, adds `reward` to the logs at its end."""

        def draw(epoch, logs=None):
            backend.sync_variables(callback.model)
            self.draw(epoch)

        def add_reward(epoch, logs=None):
            logs["reward"] = self.mean_reward

        callback = keras.callbacks.LambdaCallback(on_epoch_begin=draw, on_epoch_end=add_reward)
        return callback

    def _arrange(self, rows, advantages):
        shape = (self.batch_size, self.length)
        token_ids, segment_ids = np.zeros(shape, "int32"), np.zeros(shape, "int32")
        positions = np.zeros((self.batch_size, self.generator.maxlen), "int32")
        targets, weights = np.zeros_like(positions), np.zeros(self.batch_size, "float32")
        weights[: len(rows)] = advantages
        for row, (index, ids) in enumerate(rows):
            start, size = len(self.prompts[index]), len(ids)
            token_ids[row, : start + size] = self.prompts[index] + ids
            segment_ids[row, start : start + size] = 1
            positions[row, :size] = np.arange(start - 1, start + size - 1)
            targets[row, :size] = ids
        return (token_ids, segment_ids, positions), targets, weights
