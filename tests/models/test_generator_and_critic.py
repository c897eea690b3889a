"""What a generator and a critic have in common: how they are built, compiled and refused."""

import keras
import numpy as np
import pytest

from kexue_keras.models.generator_and_critic import GeneratorAndCritic
from kexue_keras.models.wasserstein_gan import WassersteinGAN


def dense(inputs, outputs, **options):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs, **options)])


@keras.saving.register_keras_serializable(package="tests")
class Unbuilt(keras.Model):
    """A model whose weights exist only after it is built."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units)

    def call(self, x, training=None):
        return self.dense(x)

    def get_config(self):
        return {"units": self.units}


def test_parts_that_are_not_built(tmp_path):
    with pytest.raises(ValueError, match="`latent_dim` is needed by a generator"):
        GeneratorAndCritic(Unbuilt(3), Unbuilt(1))
    model = WassersteinGAN(Unbuilt(3), Unbuilt(1), latent_dim=2, critic_steps=1)
    model.compile("sgd")
    model.fit(np.ones((4, 3), "float32"), verbose=0)
    model.save(tmp_path / "gan.keras")
    again = keras.saving.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(again.sample(2, seed=0), model.sample(2, seed=0))


def test_each_part_has_an_optimizer():
    model = GeneratorAndCritic(dense(2, 3), dense(3, 1))
    model.compile(keras.optimizers.Adam(0.25, beta_1=0.5))
    assert model.critic_optimizer is not model.optimizer
    assert model.critic_optimizer.get_config() == model.optimizer.get_config()
    assert len(model.optimizer.variables) == len(model.critic_optimizer.variables)
    model.compile("sgd", "adam")
    assert type(model.critic_optimizer) is keras.optimizers.Adam
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    model.compile(keras.optimizers.SGD(schedule))
    assert model.critic_optimizer.get_config() == model.optimizer.get_config()


@pytest.mark.eager
def test_regularizers_are_part_of_the_losses():
    """With weights that a regularizer alone draws to 0, as all data and samples are 0."""
    zeros = {"use_bias": False}
    found = []
    for regularizer in (None, keras.regularizers.L2(0.5)):
        options = {**zeros, "kernel_regularizer": regularizer, "kernel_initializer": "ones"}
        model = WassersteinGAN(
            dense(2, 3, **zeros), dense(3, 1, **options), "c_transform", critic_steps=2
        )
        model.generator.set_weights([np.zeros((2, 3))])
        model.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.1))
        logs = model.fit(np.zeros((4, 3), "float32"), verbose=0).history
        found.append((logs["critic_loss"][0], model.critic.get_weights()[0]))
    assert found[0][0] == pytest.approx(0, abs=1e-6) and (found[0][1] == 1).all()
    np.testing.assert_allclose(found[1][1], 0.9**2, rtol=1e-5)
    expected = np.mean([1.5 * 0.9 ** (2 * i) for i in range(2)])
    assert found[1][0] == pytest.approx(expected, rel=1e-4)


def test_what_is_refused():
    with pytest.raises(ValueError, match="`generator` must be a `keras.Model`. Received: 'none'"):
        GeneratorAndCritic("none", dense(3, 1))
    with pytest.raises(ValueError, match=r"`critic` must return \(batch, 1\).*\(None, 2\) for"):
        GeneratorAndCritic(dense(2, 3), dense(3, 2))
    two = keras.Input((2,))
    with pytest.raises(ValueError, match="`generator` must have one output"):
        GeneratorAndCritic(keras.Model(two, [two + 1, two + 2]), dense(2, 1))
    model = GeneratorAndCritic(dense(2, 3), dense(3, 1))
    adam = keras.optimizers.Adam()
    for arguments, options, message in (
        ((adam,), {"loss": "mse"}, "`loss` must be None"),
        ((adam,), {"metrics": ["mse"]}, "`metrics` must be None"),
        ((adam, adam), {}, "`critic_optimizer` must be another object than `optimizer`"),
        ((keras.optimizers.Adam(use_ema=True),), {}, "`use_ema` of an optimizer must be False"),
    ):
        with pytest.raises(ValueError, match=message):
            model.compile(*arguments, **options)
