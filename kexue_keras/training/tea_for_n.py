"""Teacher forcing that looks N steps ahead."""

import types

import keras

from kexue_keras import backend, layers
from kexue_keras.models.graph_attention import GraphAttention
from kexue_keras.models.transformer import Transformer
from kexue_keras.training.strategy import Strategy


@keras.saving.register_keras_serializable(package="kexue_keras")
class TeaForN(Strategy):
    r"""Teacher forcing with N students: the model also goes on from its own states.

    Ordinary teacher forcing predicts every token from the correct ones before it. Here its states
    $h^{(1)}$, those that are multiplied by the embeddings of tokens to become logits, go in again,
    one place to the right, where the embeddings of the target's tokens were: $h^{(i+1)} =
    M([e_0, h^{(i)}_1, \dots, h^{(i)}_{L-1}])$. The loss is the sum of $\lambda^{i-1} L^{(i)}$ over
    the `steps` passes, each with the same weights and the same labels. So a state is good if the
    next one can be predicted from it, too. `steps=1` is teacher forcing itself.

    Decoding uses the first pass only: model and inference stay what they are. A step costs about
    `steps` times an ordinary one. Metrics, and the mean of each loss, are of the first pass; the
    loss that `fit` reports is the sum. Every pass has its own dropout masks.

    Args:
        model: a `Transformer` as language model ("lm" or "unilm"), from `build_transformer_model`.
            Where there is a source (segment 0 of a UniLM) its embeddings stay.
        steps: number N of passes.
        discount: $\lambda$, the weight of each pass relative to the one before, at least 0.
        **kwargs: `name` and `trainable`.

    Raises:
        ValueError: `model` is no language model, or is wrapped in another model or strategy; the
            states have another size than the embeddings; `steps` or `discount` is out of range.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import losses, models, training
    >>> model = models.Bert(20, 8, 1, 2, 16, application="unilm", with_mlm="linear",
    ...                     target_positions=True)
    >>> strategy = training.TeaForN(model, steps=2, discount=0.5)
    >>> strategy.compile("adam", losses.SequenceCrossentropy())
    >>> token_ids, segment_ids = np.array([[2, 7, 3, 8, 3]]), np.array([[0, 0, 0, 1, 1]])
    >>> targets, labels = np.array([[2, 3]]), np.array([[8, 3]])
    >>> history = strategy.fit([token_ids, segment_ids, targets], labels, verbose=0)

    Reference: https://kexue.fm/archives/7818; Goodman et al. 2020, https://arxiv.org/abs/2010.03494
    """

    innermost = True

    def __init__(self, model, steps=2, discount=0.5, **kwargs):
        if not (isinstance(steps, int) and steps >= 1):
            raise ValueError(f"`steps` must be a whole number of at least 1. Received: {steps}")
        if not discount >= 0:
            raise ValueError(f"`discount` must be at least 0. Received: {discount}")
        super().__init__(model, **kwargs)
        if not isinstance(model, Transformer) or model.application == "encoder":
            kind = getattr(model, "application", type(model).__name__)
            raise ValueError(
                "`model` must be a transformer of the application 'lm' or 'unilm' itself. "
                f"Received: {model.name!r}, {kind!r}"
            )
        self.steps, self.discount = steps, discount
        # not a part of the strategy, whose weights are the model's
        self._unrolled = types.SimpleNamespace(model=None)

    def objective(self, objective, batch, trainer):
        if self.steps == 1 or not self.discount:
            return objective
        x, y, sample_weight = batch
        if self._unrolled.model is None:
            self._unrolled.model = unrolled(self.model, self.steps)

        def of_all_passes():
            first, *others = self._unrolled.model(x, training=True)
            arguments = {"y": y, "sample_weight": sample_weight}
            loss = trainer.compute_loss(x=x, y_pred=first, **arguments)
            for place, y_pred in enumerate(others, 1):
                parts = backend.compiled_losses(trainer, y_pred=y_pred, **arguments)
                loss = loss + self.discount**place * sum(parts)
            return loss, first

        return of_all_passes

    def get_config(self):
        return {**super().get_config(), "steps": self.steps, "discount": self.discount}


def unrolled(model, steps):
    """A Keras model, of the layers of a transformer, whose outputs are those of all passes.

    Args:
        model: a `Transformer` as language model.
        steps: number of passes.

    Returns:
        `keras.Model` of the same inputs, with a list of `steps` outputs, the first one that of
        `model`.
    """
    blueprint = model.blueprint
    inputs = blueprint.inputs()
    given = blueprint.given(inputs)
    place = layers.PreviousStates(name="Previous-States", dtype=blueprint.dtype)
    segments = [inputs["segment_ids"]] if model.application == "unilm" else []
    outputs, embedded, table = [], dict(inputs), given.token_embedding()
    for _ in range(steps):
        x = given.run(embedded, None, GraphAttention(given, embedded))
        outputs += given.outputs(x, embedded)[-1:]
        states = given.transform(x)
        if states.shape[-1] != table.output_dim:
            raise ValueError(
                "`model` must have states of the size of its embeddings. Received: "
                f"{states.shape[-1]} and {table.output_dim}"
            )
        tokens = table(inputs["token_ids"])
        embedded = {**inputs, "token_embeddings": place([tokens, states, *segments])}
    return keras.Model(list(inputs.values()), outputs, name=f"{model.name}_unrolled")
