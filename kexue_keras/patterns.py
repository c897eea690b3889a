"""Pattern-exploiting training: classification as filling in a blank. Pure Python and NumPy.

A `Pattern` writes a text with blanks, a `Verbalizer` says which words in the blanks stand for which
label. A masked language model then classifies without being trained for it, and learns from a few
labelled texts with its own loss. `RandomMask` makes the masks of ordinary masked-LM training, which
regularises that.

Reference: https://kexue.fm/archives/7764; https://arxiv.org/abs/2001.07676
"""

import random
from collections.abc import Sequence

import numpy as np

MASK, TEXT = "[MASK]", "{text}"


class Pattern:
    """A text with blanks around the text to classify.

    Args:
        template: has `{text}` once and `[MASK]` at least once, as `"[MASK]满意。{text}"`.
            `{text}` at the end makes a prefix of the rest, at the beginning a suffix.

    Attributes:
        num_masks: number of blanks.

    Example:

    >>> from kexue_keras.tokenizers import Tokenizer
    >>> tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "满", "意", "好"]
    >>> tokenizer = Tokenizer({token: i for i, token in enumerate(tokens)})
    >>> Pattern("[MASK]满意{text}").encode(tokenizer, "好好", maxlen=6)
    ([2, 4, 5, 6, 7, 3], [1])
    """

    def __init__(self, template: str):
        if template.count(TEXT) != 1 or MASK not in template:
            raise ValueError(
                f"`template` must have {TEXT} once and {MASK} at least once. Received: {template!r}"
            )
        self.template = template
        self.num_masks = template.count(MASK)

    def __repr__(self):
        return f"Pattern({self.template!r})"

    def encode(
        self,
        tokenizer,
        text: str,
        maxlen: int | None = None,
        words: Sequence[int] | None = None,
    ) -> tuple[list[int], list[int]]:
        """Token ids of the text in the pattern, and where its blanks are.

        Args:
            tokenizer: a `Tokenizer` with `[MASK]`.
            text: what to classify.
            maxlen: largest number of tokens. The text is cut off at its end, the pattern never.
            words: `num_masks` token ids to put into the blanks.

        Returns:
            `(token_ids, positions)`, lists of int; segment ids are all 0.

        Raises:
            ValueError: the vocabulary has no `[MASK]`, or the pattern alone exceeds `maxlen`.
        """
        if tokenizer.mask_id is None:
            raise ValueError("`tokenizer` must have [MASK] in its vocabulary. Received: none")
        words = [tokenizer.mask_id] * self.num_masks if words is None else list(words)
        if len(words) != self.num_masks:
            raise ValueError(f"`words` must be {self.num_masks} ids. Received: {words}")
        before, after = self.template.split(TEXT)
        before, after = (self._fixed(tokenizer, part) for part in (before, after))
        body = _ids(tokenizer, text)
        if maxlen is not None:
            room = maxlen - len(before) - len(after) - 2
            if room < 0:
                raise ValueError(
                    f"`maxlen` must leave room for the pattern's {len(before) + len(after)} "
                    f"tokens, [CLS] and [SEP]. Received: {maxlen}"
                )
            body = body[:room]
        token_ids = [tokenizer.start_id, *before, *body, *after, tokenizer.end_id]
        blank = range(1, 1 + len(before)), range(1 + len(before) + len(body), len(token_ids) - 1)
        positions = [i for part in blank for i in part if token_ids[i] is None]
        for position, word in zip(positions, words, strict=True):
            token_ids[position] = word
        return token_ids, positions

    def _fixed(self, tokenizer, part):
        """Ids of a part of the template, None for a blank."""
        ids = []
        for i, piece in enumerate(part.split(MASK)):
            ids += [None] * (i > 0) + _ids(tokenizer, piece)
        return ids


class Verbalizer:
    """The words that stand for the labels.

    Args:
        words: label to word; all words must have as many tokens as the pattern has blanks.

    Attributes:
        labels: the labels in the order of `words`.

    Example:

    >>> Verbalizer({1: "很", 0: "不"}).labels
    [1, 0]
    """

    def __init__(self, words: dict):
        if len(words) < 2 or len(set(words.values())) != len(words):
            raise ValueError(f"`words` must be different words of two labels. Received: {words}")
        self.words = dict(words)
        self.labels = list(words)

    def token_ids(self, tokenizer, num_masks: int) -> np.ndarray:
        """Ids of the words, int array `(labels, num_masks)`.

        Raises:
            ValueError: a word has another number of tokens, or one that is not in the vocabulary.
        """
        rows = [_ids(tokenizer, word) for word in self.words.values()]
        for word, row in zip(self.words.values(), rows, strict=True):
            if len(row) != num_masks or tokenizer.unk_id in row:
                raise ValueError(
                    f"`words` must have {num_masks} known tokens each. Received: {word!r}, "
                    f"which is {[tokenizer.id_to_token(i) for i in row]}"
                )
        return np.array(rows)

    def scores(self, token_ids: np.ndarray, columns: Sequence[int], logits: np.ndarray):
        """Log of the product of the words' probabilities, up to a constant of every sample.

        Args:
            token_ids: from `token_ids`.
            columns: the token id of every column of `logits`.
            logits: `(samples, num_masks, columns)`, of the whole vocabulary or of a part.

        Returns:
            float array `(samples, labels)`: the softmax's denominator is the same for all labels,
            so that leaving it out changes neither the order nor the differences.
        """
        place = {token: i for i, token in enumerate(columns)}
        chosen = np.array([[place[int(token)] for token in row] for row in token_ids])
        masks = np.arange(chosen.shape[1])
        return logits[:, masks, chosen].sum(-1)


class RandomMask:
    """Masks tokens as BERT's training does: 80 % `[MASK]`, 10 % a random token, 10 % unchanged.

    Args:
        mask_id: id of `[MASK]`.
        vocabulary: ids to draw random tokens from, and the only ones that are ever selected: leave
            the special tokens out.
        rate: probability of every position to be selected.

    Call arguments:
        token_ids: a sequence of ids.
        rng: a `random.Random`.
        protected: positions never selected, as the blanks of a pattern.

    Returns:
        `(masked token ids, selected positions, their original ids)`, lists of int.

    Example:

    >>> mask = RandomMask(mask_id=4, vocabulary=range(5, 9), rate=0.9)
    >>> mask([2, 7, 8, 3], random.Random(0))
    ([2, 4, 4, 3], [1, 2], [7, 8])
    """

    def __init__(self, mask_id: int, vocabulary: Sequence[int], rate: float = 0.15):
        if not 0 <= rate <= 1:
            raise ValueError(f"`rate` must be from 0 to 1. Received: {rate}")
        self.mask_id = mask_id
        self.vocabulary = list(vocabulary)
        self.rate = rate
        self._selectable = frozenset(self.vocabulary)

    def __call__(
        self, token_ids: Sequence[int], rng: random.Random, protected: Sequence[int] = ()
    ) -> tuple[list[int], list[int], list[int]]:
        masked, positions, originals = list(token_ids), [], []
        for i, token in enumerate(token_ids):
            if token not in self._selectable or i in protected or rng.random() >= self.rate:
                continue
            positions.append(i)
            originals.append(token)
            kind = rng.random()
            if kind < 0.8:
                masked[i] = self.mask_id
            elif kind < 0.9:
                masked[i] = rng.choice(self.vocabulary)
        return masked, positions, originals


def _ids(tokenizer, text):
    """Ids of a text without special tokens around it."""
    return tokenizer.encode(text)[0][1:-1] if text else []
