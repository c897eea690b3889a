"""Models of `transformers` made for comparison: random, small, in evaluation mode."""

import numpy as np
import torch

torch.set_num_threads(1)

SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 16,
}


def randomized(model, seed=0):
    """The model with random weights all over, also where it starts with ones and zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            center = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(center + 0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def token_ids(first=1, lengths=(11, 7), seed=0):
    """Ids `(2, 11)` from `first` on and their mask; 0 where a text is over."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(first, 50, (len(lengths), max(lengths)))
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return (ids * mask).astype("int32"), mask


def outputs(model, **inputs):
    """Outputs by name, NumPy arrays, of NumPy arrays by name."""
    with torch.no_grad():
        found = model(**{name: torch.tensor(np.asarray(x)).long() for name, x in inputs.items()})
    return {name: value.numpy() for name, value in found.items() if torch.is_tensor(value)}
