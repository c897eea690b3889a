"""What models of a generator and a critic have in common: two optimizers, codes, samples."""

import keras
import numpy as np
from keras import ops

from kexue_keras import backend

# name of the states of random generators in files
_RANDOM_STATE = "random_state"


class GeneratorAndCritic(keras.Model):
    """A generator of samples and a critic that judges them, each with an optimizer of its own.

    The model is saved with both optimizers and all random states, so that a reloaded one trains on
    as if it had not been interrupted. A subclass writes `train_step` with `step`, `generated` and
    `judged`, and `compute_loss` for `evaluate`. Calling the model calls the critic.

    Args:
        generator: built `keras.Model` of codes `(batch, latent_dim)` to samples, or one that
            `latent_dim` is enough to build.
        critic: `keras.Model` of samples to `(batch, 1)`.
        latent_dim: size of the codes; None takes it from the generator.
        seed: int of what is drawn while training; None takes one of Python's random generator.
        **kwargs: `name` and `trainable`. The dtype policy is that of `critic`.

    Raises:
        ValueError: a bad argument; names it.
    """

    def __init__(self, generator, critic, latent_dim=None, seed=None, **kwargs):
        for name, part in (("generator", generator), ("critic", critic)):
            if not isinstance(part, keras.Model):
                raise ValueError(f"`{name}` must be a `keras.Model`. Received: {part!r}")
        latent_dim = _build(generator, critic, latent_dim)
        # the parts cast their inputs themselves
        super().__init__(dtype=critic.dtype_policy, autocast=False, **kwargs)
        self.generator = generator
        self.critic = critic
        self.latent_dim = latent_dim
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.critic_optimizer = None
        self.built = True

    def compile(self, optimizer="rmsprop", critic_optimizer=None, **kwargs):
        """Chooses the optimizers.

        Args:
            optimizer: the generator's, as of any Keras model.
            critic_optimizer: the critic's; None makes another one like `optimizer`.
            **kwargs: `run_eagerly`, `jit_compile`, `steps_per_execution`, `auto_scale_loss`.

        Raises:
            ValueError: a loss or metrics are given, which the model has itself; both optimizers are
                one object; or one keeps an average of the weights.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.pop(name, None) is not None:
                raise ValueError(f"`{name}` must be None: {self.name!r} has its own")
        optimizer = keras.optimizers.get(optimizer)
        if critic_optimizer is None:
            critic_optimizer = type(optimizer).from_config(optimizer.get_config())
        critic_optimizer = keras.optimizers.get(critic_optimizer)
        if critic_optimizer is optimizer:
            raise ValueError(
                "`critic_optimizer` must be another object than `optimizer`, as it has a state of "
                f"its own. Received: {optimizer.name!r} twice"
            )
        scale = kwargs.pop("auto_scale_loss", True) and self.dtype_policy.name == "mixed_float16"
        found = []
        for one in (optimizer, critic_optimizer):
            if getattr(one, "inner_optimizer", one).use_ema:
                raise ValueError(
                    f"`use_ema` of an optimizer must be False here. Received: {one.name!r}"
                )
            scaled = isinstance(one, keras.optimizers.LossScaleOptimizer) or not scale
            found.append(one if scaled else keras.optimizers.LossScaleOptimizer(one))
        super().compile(found[0], auto_scale_loss=False, **kwargs)
        self.critic_optimizer = found[1]
        # now, as Keras would build one for all weights
        self.optimizer.build(self.generator.trainable_variables)
        self.critic_optimizer.build(self.critic.trainable_variables)

    def call(self, inputs, training=None):
        return self.critic(inputs, training=training)

    def judged(self, x, training):
        """The critic's values of samples: float32 `(batch,)`."""
        return ops.reshape(ops.cast(self.critic(x, training=training), "float32"), (-1,))

    def generated(self, count, training):
        """Samples of codes drawn now: float32 `(count, ...)`."""
        shape = (count, self.latent_dim)
        codes = keras.random.normal(shape, dtype="float32", seed=self.seed_generator)
        return ops.cast(self.generator(codes, training=training), "float32")

    def step(self, optimizer, part, objective):
        """A step of an optimizer.

        Args:
            optimizer: one of the two.
            part: the generator or the critic, whose weights are updated.
            objective: callable without arguments that returns a dict of scalars, of which the first
                is minimized.

        Returns:
            The dict.
        """

        def scaled():
            terms = objective()
            loss = next(iter(terms.values())) / backend.replicas()
            return optimizer.scale_loss(loss), terms

        variables = part.trainable_variables
        (_, terms), gradients = backend.value_and_grad(scaled, variables)()
        backend.apply_gradients(optimizer, gradients, variables)
        return terms

    def sample(self, n, seed=None, batch_size=256):
        """Generates samples.

        Args:
            n: how many.
            seed: int; the same one draws the same codes on every backend. None draws others every
                time. Training goes on with its own codes.
            batch_size: how many are made at once.

        Returns:
            NumPy array `(n, ...)`.
        """
        codes = np.random.default_rng(seed).standard_normal((n, self.latent_dim), "float32")
        return self.predicted(self.generator, codes, batch_size)

    def predicted(self, part, x, batch_size):
        """What the generator or the critic makes of an array: float32 NumPy array."""
        backend.sync_variables(self)
        # one by one, without the data pipeline and the program of `predict`, which callbacks that
        # look at a few samples would wait for
        parts = [x[i : i + batch_size] for i in range(0, len(x), batch_size)]
        found = [part(ops.convert_to_tensor(rows), training=False) for rows in parts]
        return np.concatenate([ops.convert_to_numpy(y).astype("float32") for y in found])

    @property
    def non_trainable_variables(self):
        """Those of the layers, and the state of the critic's optimizer, which training updates."""
        own = super().non_trainable_variables
        return own if self.critic_optimizer is None else own + self.critic_optimizer.variables

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras saves no random state
        for i, (_, value) in enumerate(backend.random_state(self)):
            store[f"{_RANDOM_STATE}_{i}"] = ops.convert_to_numpy(value)

    def load_own_variables(self, store):
        names = [name for name in store.keys() if not name.startswith(_RANDOM_STATE)]
        super().load_own_variables({name: store[name] for name in names})
        for i, (variable, _) in enumerate(backend.random_state(self)):
            variable.assign(store[f"{_RANDOM_STATE}_{i}"])

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["critic_optimizer"] = keras.saving.serialize_keras_object(self.critic_optimizer)
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "generator": keras.saving.serialize_keras_object(self.generator),
            "critic": keras.saving.serialize_keras_object(self.critic),
            "latent_dim": self.latent_dim,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        found = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("generator", "critic")
        }
        return cls(**{**config, **found})


def additional_losses(part):
    """What layers and regularizers add to the loss of the last pass."""
    return sum([ops.sum(ops.cast(loss, "float32")) for loss in part.losses], ops.zeros(()))


def check_data(y, sample_weight):
    """Refuses what nothing here looks at."""
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(f"`{name}` must be None: a GAN is fitted to `x` alone")


def _build(generator, critic, latent_dim):
    """The size of the codes; builds what is not built."""
    known = getattr(generator, "input_shape", None) if generator.built else None
    if latent_dim is None:
        if not isinstance(known, tuple) or len(known) != 2 or known[1] is None:
            raise ValueError(
                "`latent_dim` is needed by a generator whose input is not known to be "
                f"(batch, size). Received: {generator.name!r} with the input {known}"
            )
        latent_dim = known[1]
    shape = _output_shape("generator", generator, (None, latent_dim))
    found = _output_shape("critic", critic, shape)
    if len(shape) < 2 or found[1:] not in ((1,), ()):
        raise ValueError(
            "`critic` must return (batch, 1) for what `generator` returns. "
            f"Received: {found} for {shape}"
        )
    return latent_dim


def _output_shape(name, part, shape):
    output = part(keras.KerasTensor(shape))
    if not isinstance(output, keras.KerasTensor):
        raise ValueError(f"`{name}` must have one output. Received: {output!r}")
    return tuple(output.shape)
