"""Python functions as objectives."""

import json

import keras
import numpy as np
import pytest
from contract import check_serialization
from keras import ops
from strategy_models import LABELS, TOKENS, bag_of_words

from kexue_keras import training


@keras.saving.register_keras_serializable(package="tests")
def errors(y_true, y_pred):
    return np.mean(y_true != y_pred.argmax(-1))


def test_it_is_called_with_arrays_of_any_structure():
    seen = []

    def function(y_true, y_pred):
        seen.append((y_true, sorted(y_pred), [type(x) for x in y_pred.values()]))
        return y_pred["a"].sum()

    objective = training.python_objective(function)
    value = objective(None, {"a": ops.ones((2, 3)), "b": ops.zeros((2,))})
    assert float(value) == 6 and value.shape == ()
    assert seen == [(None, ["a", "b"], [np.ndarray, np.ndarray])]


def test_per_sample():
    objective = training.python_objective(lambda y, p: p[:, 0] - y, per_sample=True)
    found = ops.convert_to_numpy(objective(np.array([1, 2]), np.array([[5, 0], [7, 0]])))
    assert found.tolist() == [4, 5] and found.dtype == "float32"
    with pytest.raises(Exception, match="must return an array of shape"):
        ops.convert_to_numpy(training.python_objective(lambda y, p: p)(np.ones(2), np.ones((2, 2))))


def test_as_a_loss_it_is_named_evaluated_and_saved(tmp_path):
    objective = training.python_objective(errors)
    assert check_serialization(objective).function is errors and objective.name == "errors"
    assert json.dumps(objective.get_config()).count("tests>errors") == 1
    model = training.ZerothOrder(bag_of_words())
    model.compile("sgd", objective, metrics=["accuracy"])
    loss, accuracy = model.evaluate(TOKENS, LABELS, verbose=0)
    assert loss == pytest.approx(1 - accuracy)
    model.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras")
    assert again.evaluate(TOKENS, LABELS, verbose=0)[0] == loss
    assert training.python_objective(lambda y, p: 0.0).name == "python_objective"


def test_xla_of_tensorflow_is_not_asked():
    """The step is compiled without it: by itself, or with Keras's warning."""
    xla = keras.backend.backend() == "jax"
    objective = training.python_objective(errors)
    inside = training.ZerothOrder(bag_of_words())
    cases = (
        (training.Strategy(inside), objective),
        (training.Strategy(training.PolicyGradient(bag_of_words(), objective)), None),
        (training.GuidedParameterSearch(bag_of_words(), objective), "mse"),
    )
    for strategy, loss in cases:
        strategy.compile("sgd", loss)
        assert strategy.jit_compile == xla
        with pytest.warns(UserWarning) if not xla else _no_warning():
            strategy.compile("sgd", loss, jit_compile=True)
        assert strategy.jit_compile == xla
    strategy = training.Strategy(bag_of_words())
    strategy.compile("sgd", "mse", jit_compile=True)
    assert strategy.jit_compile


def _no_warning():
    import contextlib

    return contextlib.nullcontext()


def test_what_is_refused():
    with pytest.raises(ValueError, match="`function` must be a callable.*Received: 3"):
        training.python_objective(3)
