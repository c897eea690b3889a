"""Robust training in NumPy: VAT and FGM (7466), TeaForN (7818), random replacement (7259).

Written from the articles alone: https://kexue.fm/archives/7466, 7818 and 7259. The first part is
about the bag of words of `strategy_models`: weights are [table, kernel, bias], a function of the
weights returns value and gradients, and what changes such a function is a `change` of `losses_of`.
"""

import numpy as np


def logits_of(weights, tokens):
    """tanh(mean of embeddings) kernel + bias, and the activations."""
    table, kernel, bias = weights
    activations = np.tanh(table[tokens].mean(1))
    return activations @ kernel + bias, activations


def log_softmax(logits):
    logits = logits - logits.real.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def divergence(weights, tokens, target):
    """KL(target || softmax), its mean over the batch, and gradients by table, kernel and bias.

    `target` (n, classes) are probabilities, constant. Weights may be complex.
    """
    table, kernel, _ = weights
    logits, activations = logits_of(weights, tokens)
    log_q = log_softmax(logits)
    log_p = np.log(np.where(target > 0, target, 1))
    value = np.sum(target * (log_p - log_q)) / len(tokens)
    by_logits = (np.exp(log_q) * target.sum(1, keepdims=True) - target) / len(tokens)
    by_mean = by_logits @ kernel.T * (1 - activations**2)
    by_table = np.zeros_like(table)
    np.add.at(by_table, tokens, by_mean[:, None] / tokens.shape[1])
    return value, [by_table, activations.T @ by_logits, by_logits.sum(0)]


def unit(x):
    """x over the norm of the whole array; zero stays zero."""
    norm = np.sqrt(np.sum(x**2))
    return x / norm if norm > 0 else np.zeros_like(x)


def virtual_perturbation(weights, tokens, start, epsilon=1.0, xi=10.0, iterations=1):
    """epsilon u by power iteration on the embedding table (SPEC C6, article 7466).

    Repeat u <- u / ||u||, u <- gradient of KL(p || softmax at table + xi u) by the table; then
    u <- u / ||u||. p is the prediction at the table. No iterations: the start's direction.

    Args:
        start: of the table's shape.
    """
    table, *rest = weights
    target = np.exp(log_softmax(logits_of(weights, tokens)[0]))
    u = np.asarray(start, "float64")
    for _ in range(iterations):
        u = divergence([table + xi * unit(u), *rest], tokens, target)[1][0]
    return epsilon * unit(u)


def virtually_adversarial(function, tokens, start, epsilon=1.0, xi=10.0, iterations=1, weight=1.0):
    """`function` plus weight times KL(p || softmax at the perturbed table) (SPEC C6, 7466).

    p and the perturbation are constants: no gradient passes through them. The mean is that of all
    samples of the batch, whatever their weights. `tokens` are the batch's; a change is made with

        batches, starts = iter(...), iter(...)      # one of each for every step
        change = lambda f: virtually_adversarial(f, next(batches), next(starts))
    """

    def run(weights):
        real = [np.real(w) for w in weights]
        target = np.exp(log_softmax(logits_of(real, tokens)[0]))
        shift = virtual_perturbation(real, tokens, start, epsilon, xi, iterations)
        extra, more = divergence([weights[0] + shift, *weights[1:]], tokens, target)
        value, gradients = function(weights)
        pairs = zip(gradients, more, strict=True)
        return value + weight * extra, [g + weight * m for g, m in pairs]

    return run


def projected_perturbation(function, weights, epsilon, steps=1, step_size=None):
    """The shift of the table by projected ascent: delta = 0, then `steps` times

        delta <- delta + step_size unit(gradient by the table at table + delta)

    and back to the ball of radius epsilon. `step_size` is epsilon / steps by default; one step is
    FGM (SPEC C6, article 7466).
    """
    table, *rest = [np.real(w) for w in weights]
    step_size = epsilon / steps if step_size is None else step_size
    delta = np.zeros_like(table)
    for _ in range(steps):
        delta = delta + step_size * unit(function([table + delta, *rest])[1][0])
        norm = np.sqrt(np.sum(delta**2))
        if norm > epsilon:
            delta = delta * (epsilon / norm)
    return delta


def projected(function, epsilon, steps=1, step_size=None):
    """`function` at the perturbed table: value and gradients there, the shift a constant."""

    def run(weights):
        delta = projected_perturbation(function, weights, epsilon, steps, step_size)
        return function([weights[0] + delta, *weights[1:]])

    return run


def teaforn_hidden(model, embeddings, steps):
    """h^(1), ..., h^(steps) (SPEC B6, article 7818), (steps, ..., L, d).

    h^(1) = M(e_0, ..., e_{L-1}) and h^(i+1) = M(e_0, h^(i)_1, ..., h^(i)_{L-1}), where h_t is the
    output at input t - 1, which predicts token t: outputs come in again one place to the right.

    Args:
        model: causal function of (..., L, d) to (..., L, d), with positions and all else in it.
        embeddings: (..., L, d) of the tokens w_0, ..., w_{L-1}.
    """
    hidden = [model(embeddings)]
    for _ in range(steps - 1):
        again = np.concatenate([embeddings[..., :1, :], hidden[-1][..., :-1, :]], -2)
        hidden.append(model(again))
    return np.stack(hidden)


def teaforn_losses(model, head, embeddings, targets, steps=2, mask=None):
    """Cross-entropies of the passes, (steps,), means over the mask.

    Args:
        head: function of hidden states to logits (..., L, V).
        targets: (..., L) integers, w_1, ..., w_L: the tokens that follow the inputs.
        mask: (..., L), of the targets.
    """
    log_p = log_softmax(head(teaforn_hidden(model, embeddings, steps)))
    index = np.broadcast_to(np.asarray(targets)[None, ..., None], (*log_p.shape[:-1], 1))
    nll = -np.take_along_axis(log_p, index, -1)[..., 0]
    mask = np.ones(nll.shape[1:]) if mask is None else np.asarray(mask, "float64")
    return (nll * mask).reshape(steps, -1).sum(1) / mask.sum()


def teaforn_loss(model, head, embeddings, targets, steps=2, discount=0.5, mask=None):
    """sum_i discount^(i-1) CE_i; one step is teacher forcing."""
    losses = teaforn_losses(model, head, embeddings, targets, steps, mask)
    return float(losses @ discount ** np.arange(steps))


def replacement_expectation(token_ids, segment_ids, rate=0.3, keep_probability=0.5):
    """Expected share of target tokens that change, and its standard deviation (SPEC B7, 7259).

    With `keep_probability` a row stays; else each target token (segment 1) is drawn anew with
    probability `rate`, from all places of the row's target alike. A draw of the same token is no
    change. The deviation is that of the share in all the rows together, drawn once.
    """
    changes, places, mean, variance = 1 - keep_probability, 0, 0.0, 0.0
    for tokens, segments in zip(token_ids, segment_ids, strict=True):
        target = np.asarray(tokens)[np.asarray(segments) == 1]
        chance = rate * (1 - np.mean(target[:, None] == target, 1)) if len(target) else np.zeros(0)
        total = chance.sum()
        places += len(target)
        mean += changes * total
        variance += changes * (np.sum(chance * (1 - chance)) + (1 - changes) * total**2)
    return mean / places, np.sqrt(variance) / places


def replacement_faults(before, after, segment_ids):
    """Numbers of tokens that must not be there: (changed in the source, no token of the target)."""
    before, after = np.asarray(before), np.asarray(after)
    target = np.asarray(segment_ids) == 1
    source = int(np.sum((before != after) & ~target))
    foreign = 0
    for old, new, place in zip(before, after, target, strict=True):
        foreign += int(np.sum(~np.isin(new[place], old[place])))
    return source, foreign


def two_step_beam(first, second, width):
    """The path of two tokens that a beam of `width` finds, and its probability (SPEC B7, 7259).

    `first` maps a token to its probability, `second` a first token to such a map.
    """
    kept = sorted(first, key=first.get, reverse=True)[:width]
    paths = {(a, b): first[a] * p for a in kept for b, p in second[a].items()}
    best = max(paths, key=paths.get)
    return best, paths[best]
