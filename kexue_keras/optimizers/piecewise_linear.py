"""A learning rate that is linear between given steps."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kexue_keras")
class PiecewiseLinear(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that goes straight from one given step to the next: warm-up, decay, both.

    `rate` is multiplied by a factor that is given at some steps, linear between them and constant
    after the last. If the first step is not 0, the factor rises from 0 to it: `{1000: 1}` is a
    warm-up, `{1000: 1, 20000: 0}` a warm-up and a decay to zero.

    Steps are batches, from 0. With `gradient_accumulation_steps=k` of Keras an update of the
    weights takes k of them, as in bert4keras.

    Args:
        rate: the learning rate that the factors multiply.
        schedule: dict of steps (non-negative integers) to factors, at least one.
        name: of the schedule.

    Raises:
        ValueError: `schedule` is empty or has a step below 0.

    Example:

    >>> from kexue_keras.optimizers import PiecewiseLinear
    >>> rate = PiecewiseLinear(0.1, {2: 1, 4: 0.5})
    >>> [round(float(rate(step)), 4) for step in range(6)]
    [0.0, 0.05, 0.1, 0.075, 0.05, 0.05]

    Reference: bert4keras's `extend_with_piecewise_linear_lr`,
    https://github.com/bojone/bert4keras
    """

    def __init__(self, rate, schedule, name="piecewise_linear"):
        super().__init__()
        points = {int(step): float(factor) for step, factor in schedule.items()}
        if not points or min(points) < 0:
            raise ValueError(
                "`schedule` must have a factor for one step or more, none below 0. "
                f"Received: {schedule}"
            )
        self.rate = rate
        self.schedule = dict(sorted(points.items()))
        self.name = name

    def __call__(self, step):
        dtype = keras.config.floatx()
        t = ops.cast(step, dtype)
        points = list(self.schedule.items())
        if points[0][0] != 0:
            points.insert(0, (0, 0.0))
        factor = ops.full_like(t, points[-1][1])
        # from the last piece to the first, as each takes what lies before its end
        for (begin, low), (end, high) in reversed(list(zip(points, points[1:], strict=False))):
            share = (t - begin) / (end - begin)
            factor = ops.where(t < end, low + share * (high - low), factor)
        return self.rate * factor

    def get_config(self):
        # JSON has no integer keys; they are read as integers again
        schedule = {str(step): factor for step, factor in self.schedule.items()}
        return {"rate": self.rate, "schedule": schedule, "name": self.name}
