"""What the programs share: first weights that are the same everywhere, losses of steps."""

import numpy as np

TEXTS = ["我是大人", "你的花很好", "山上小水", "他不是天火", "一二三四五六", "很好很好"]
STEPS = 3
NO_DROPOUT = {"dropout_rate": 0.0, "attention_dropout_rate": 0.0}


def settle(*layers):
    """Gives the layers weights that depend on their shapes alone."""
    for layer in layers:
        shapes = [weight.shape for weight in layer.get_weights()]
        layer.set_weights([0.3 * np.sin(1.0 + np.arange(np.prod(s))).reshape(s) for s in shapes])


def recorder(keras):
    """A callback with the list `losses`: the mean loss after each step."""

    class Recorder(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.losses = []

        def on_batch_end(self, batch, logs=None):
            self.losses.append(float(logs["loss"]))

    return Recorder()


def trained(keras, model, generator):
    """The mean loss after each of the first steps.

    Keras 2 on TensorFlow 2 takes `(inputs, None)` of a generator for other things; there batches
    are given one by one.
    """
    if hasattr(keras, "__version__"):
        record, stream = recorder(keras), generator.forfit(random=False)
        model.fit(stream, steps_per_epoch=STEPS, callbacks=[record], verbose=0)
        return record.losses
    stream = generator.forfit(random=False)
    found = [np.ravel(model.train_on_batch(*next(stream)))[0] for _ in range(STEPS)]
    return list(np.cumsum(found) / np.arange(1, STEPS + 1))


def predicted(keras, model, generator, steps):
    """Predictions for the first batches."""
    if hasattr(keras, "__version__"):
        return model.predict(generator.fortest(), steps=steps, verbose=0)
    stream = generator.fortest()
    return np.concatenate([model.predict_on_batch(next(stream)) for _ in range(steps)])
