"""`keras`, with models that are read under the file names that bert4keras's programs give them."""

import keras as _keras

from kexue_keras.compat import keras_models as models

__all__ = ["models"]


def __getattr__(name):
    return getattr(_keras, name)


def __dir__():
    return dir(_keras)
