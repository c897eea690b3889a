"""What models that code and decode their input have in common."""

import keras
import numpy as np
from keras import ops, tree

from kexue_keras import backend
from kexue_keras.losses.arguments import refuse_sample_weight, same_shape

RECONSTRUCTIONS = ("mse", "bce")


class Autoencoder(keras.Model):
    """A model of an encoder and a decoder that is fitted to its input: `fit(x)`, without targets.

    A subclass has `call`, which returns a dict with the key "reconstruction", and `penalty`, what
    is added to the reconstruction loss: that is the sum over all numbers of a sample, and the mean
    over samples.

    Args:
        encoder: `keras.Model` (functional, or Sequential with an `Input`); its first output is the
            code `(batch, size)`.
        decoder: `keras.Model` likewise, of the code to the shape of `x`.
        reconstruction: "mse", the squared difference, or "bce", the binary cross-entropy, for which
            `x` and the decoder's output are from 0 to 1.
        conditional: whether encoder and decoder take a condition as their second input, such as the
            one-hot label or its number; `fit([x, condition])` then.
        outputs: number of outputs that the encoder must have.
        **kwargs: of `keras.Model`.

    Raises:
        ValueError: a bad argument; names it.
    """

    def __init__(
        self, encoder, decoder, reconstruction="mse", conditional=False, outputs=1, **kwargs
    ):
        if reconstruction not in RECONSTRUCTIONS:
            raise ValueError(
                f"`reconstruction` must be one of {RECONSTRUCTIONS}. Received: {reconstruction!r}"
            )
        _check_part("encoder", encoder, 1 + conditional, outputs)
        _check_part("decoder", decoder, 1 + conditional, 1)
        # the parts cast their inputs themselves: a condition that comes as floats is not rounded
        super().__init__(autocast=False, **kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.reconstruction = reconstruction
        self.conditional = conditional
        self.code_size = _code_size(encoder, decoder)
        self._reconstruction_metric = keras.metrics.Mean("reconstruction")

    def penalty(self, outputs):
        """Hook: the metrics of what `call` returned are updated; returns a scalar, or 0."""
        raise NotImplementedError

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if self.loss is not None:
            raise ValueError(
                f"`loss` of `compile` must be None: {self.name!r} has its own. "
                f"Received: {self.loss!r}"
            )
        if y is not None:
            shapes = ", ".join(f"shape {tuple(part.shape)}" for part in tree.flatten(y))
            raise ValueError(
                f"`y` must be None: {self.name!r} is fitted to `x`. Received: {shapes}"
            )
        refuse_sample_weight(sample_weight, "every sample counts once")
        target = tree.flatten(x)[0]
        lost = self.reconstruction_loss(target, y_pred["reconstruction"])
        self._reconstruction_metric.update_state(lost)
        added = [ops.sum(ops.cast(loss, "float32")) for loss in self.losses]
        loss = sum(added, ops.mean(lost)) + self.penalty(y_pred)
        return loss / backend.replicas()

    def reconstruction_loss(self, x, reconstruction):
        """Sum over the numbers of each sample, float32 `(batch,)`.

        Args:
            x: what was coded, `(batch, ...)`.
            reconstruction: the decoder's output, of the same shape.
        """
        if not same_shape(x.shape, reconstruction.shape):
            raise ValueError(
                "`decoder` must give the shape of `x`. Received: "
                f"{tuple(reconstruction.shape)} for {tuple(x.shape)}"
            )
        x, reconstruction = (ops.cast(part, "float32") for part in (x, reconstruction))
        if self.reconstruction == "mse":
            each = (x - reconstruction) ** 2
        else:
            each = ops.binary_crossentropy(x, reconstruction)
        return ops.sum(each, axis=tuple(range(1, len(each.shape))))

    def sample(self, n, condition=None, seed=None, batch_size=256):
        """Decodes codes that are drawn from N(0, I).

        Args:
            n: how many samples.
            condition: of a conditional model, an array of `n` conditions.
            seed: int; the same one draws the same codes on every backend. None draws others every
                time.
            batch_size: how many are decoded at once.

        Returns:
            NumPy array `(n, ...)`.

        Raises:
            ValueError: a condition is missing, not wanted, or there are not `n`.
        """
        codes = np.random.default_rng(seed).standard_normal((n, self.code_size), "float32")
        return self.decode(codes, condition, batch_size)

    def decode(self, codes, condition=None, batch_size=256):
        """The decoder's output for codes `(n, code_size)`: NumPy array `(n, ...)`.

        Args:
            codes, condition: arrays.
            batch_size: how many are decoded at once.
        """
        return self._run(self.decoder, np.asarray(codes), condition, batch_size)

    def encode(self, x, condition=None, batch_size=256):
        """The codes of samples, without noise: NumPy array `(n, code_size)`.

        Args:
            x, condition: arrays.
            batch_size: how many are coded at once.
        """
        found = self._run(self.encoder, np.asarray(x), condition, batch_size)
        return tree.flatten(found)[0]

    def _run(self, part, x, condition, batch_size):
        if (condition is not None) != self.conditional or (
            self.conditional and len(condition) != len(x)
        ):
            wanted = f"{len(x)} conditions" if self.conditional else "None"
            found = None if condition is None else f"{len(condition)} conditions"
            raise ValueError(f"`condition` must be {wanted}. Received: {found}")
        backend.sync_variables(self)
        inputs = [x, np.asarray(condition)] if self.conditional else x
        return part.predict(inputs, batch_size=batch_size, verbose=0)

    def parts_of(self, inputs):
        """`(x, condition)` as lists of what follows in a call of encoder or decoder."""
        found = tree.flatten(inputs)
        if len(found) != 1 + self.conditional:
            wanted = "`[x, condition]`" if self.conditional else "one tensor"
            raise ValueError(f"`x` must be {wanted}. Received: {len(found)} tensors")
        return found[:1], found[1:]

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "reconstruction": self.reconstruction,
            "conditional": self.conditional,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        names = ("encoder", "decoder", "dtype")
        found = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in names
        }
        return cls(**{**config, **found})


def called(part, tensors, training):
    """A model called with a list of tensors, one alone or all of them."""
    return part(tensors if len(tensors) > 1 else tensors[0], training=training)


def _check_part(name, part, inputs, outputs):
    if not isinstance(part, keras.Model) or not part.built or not hasattr(part, "inputs"):
        raise ValueError(
            f"`{name}` must be a functional `keras.Model`, or a Sequential one with an `Input`. "
            f"Received: {part!r}"
        )
    found = len(part.inputs), len(part.outputs)
    if found != (inputs, outputs):
        raise ValueError(
            f"`{name}` must have {inputs} inputs and {outputs} outputs. "
            f"Received: {found[0]} and {found[1]}"
        )


def _code_size(encoder, decoder):
    code, taken = tuple(encoder.outputs[0].shape), tuple(decoder.inputs[0].shape)
    shapes = {tuple(output.shape) for output in encoder.outputs} | {code, taken}
    if len(code) != 2 or code[1] is None or len(shapes) > 1:
        raise ValueError(
            "`encoder` must give codes `(batch, size)` as `decoder` takes them. "
            f"Received: {', '.join(map(str, sorted(shapes, key=str)))}"
        )
    return code[1]
