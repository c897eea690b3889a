"""Rouge-L and BLEU of generated texts, by characters."""

from __future__ import annotations

from collections.abc import Sequence

from kexue_keras.metrics.subsequences import longest_common_subsequence


def rouge_l(reference: Sequence, candidate: Sequence) -> float:
    """F-measure of the longest common subsequence, precision and recall weighing the same.

    Args:
        reference: a text, compared by characters, or a list of tokens.
        candidate: likewise.

    Returns:
        `2 LCS / (len(reference) + len(candidate))`, from 0 to 1; 0 if both are empty.

    Example:

    >>> round(rouge_l("谁写了红楼梦？", "红楼梦谁写的？"), 2)
    0.57

    Reference: Lin 2004, https://aclanthology.org/W04-1013
    """
    total = len(reference) + len(candidate)
    return 2 * longest_common_subsequence(reference, candidate) / total if total else 0.0


def bleu(references: Sequence[str], candidates: Sequence[str]) -> float:
    """Corpus BLEU-4 of characters, by sacrebleu.

    Args:
        references: one text per sample.
        candidates: as many texts.

    Returns:
        From 0 to 1.

    Example:

    >>> round(bleu(["谁写了红楼梦？"], ["谁写了红楼梦？"]), 4)
    1.0

    Reference: Papineni et al. 2002, https://aclanthology.org/P02-1040; https://github.com/mjpost/sacrebleu
    """
    import sacrebleu

    if len(references) != len(candidates) or not references:
        raise ValueError(
            "`references` and `candidates` must have the same number of texts, at least one. "
            f"Received: {len(references)} and {len(candidates)}"
        )
    metric = sacrebleu.metrics.BLEU(tokenize="char", effective_order=False)
    return metric.corpus_score(list(candidates), [list(references)]).score / 100
