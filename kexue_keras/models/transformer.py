"""A Keras model of a blueprint."""

import keras

from kexue_keras import backend, layers
from kexue_keras.models.graph_attention import GraphAttention


@keras.saving.register_keras_serializable(package="kexue_keras")
class Transformer(keras.Model):
    """An ordinary functional Keras model, laid out by a blueprint.

    Args:
        blueprint: a `Blueprint` that has not made a model yet.
        name: name of the model.

    Attributes:
        blueprint: the `Blueprint`: the layers by name and their order.

    Example: see `Blueprint` and `build_transformer_model`.
    """

    def __init__(self, blueprint, name=None, **kwargs):
        if blueprint.sealed:
            raise ValueError(
                "`blueprint` must not have made a model yet. Received: that of "
                f"{blueprint.model.name!r}"
            )
        inputs = blueprint.inputs()
        given = blueprint.given(inputs)
        x = given.run(inputs, None, GraphAttention(given, inputs))
        outputs = given.outputs(x, inputs)
        outputs = outputs[0] if len(outputs) == 1 else outputs
        super().__init__(inputs=list(inputs.values()), outputs=outputs, name=name, **kwargs)
        blueprint.model, blueprint.sealed = self, True
        self._blueprint = blueprint
        # the mask of what an encoder has read comes with it
        self.supports_masking = blueprint.reads_context

    @property
    def blueprint(self):
        """The `Blueprint`."""
        return self._blueprint

    @property
    def application(self):
        """ "encoder", "lm" or "unilm"."""
        return self._blueprint.application

    @property
    def keep_tokens(self):
        """Ids, in the checkpoint's vocabulary, of the tokens of this model; None if all."""
        return self._blueprint.config["keep_tokens"]

    @property
    def max_position(self):
        """Length of the longest sequence."""
        return self._blueprint.max_position

    @property
    def initializer(self):
        """A new initializer of kernels and embeddings."""
        return self._blueprint.initializer

    def variable_mapping(self):
        """See `Blueprint.variable_mapping`."""
        return self._blueprint.variable_mapping()

    def get_config(self):
        return {
            "family": keras.saving.get_registered_name(type(self._blueprint)),
            **self._blueprint.get_config(),
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self._blueprint.dtype),
            "trainable": self.trainable,
            "frozen": [layer.name for layer in self.layers if not layer.trainable],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        trainable, frozen = config.pop("trainable", True), config.pop("frozen", ())
        model = cls.build_from(config.pop("name", None), config, custom_objects)
        model.trainable = trainable
        for layer in model.layers:
            layer.trainable = layer.name not in frozen
        return model

    @classmethod
    def build_from(cls, name, config, custom_objects=None):
        """The model of a configuration with the name of its family."""
        family = family_of(config.pop("family"), custom_objects)
        return cls(family(**config), name=name)


def family_of(name, custom_objects=None):
    """The registered class of blueprints of that name."""
    family = keras.saving.get_registered_object(name, custom_objects)
    if family is None:
        raise ValueError(
            "`family` must be a class of blueprints registered by "
            f"keras.saving.register_keras_serializable. Received: {name!r}"
        )
    return family


def blueprints_of(model):
    """The blueprints of all transformers in a model: itself, nested, or built into its graph.

    A functional model built on the outputs of a transformer holds its layers, not the transformer;
    there a blueprint is made that finds these layers. The token embedding says of which family.

    Args:
        model: a `keras.Model`.

    Returns:
        List of `Blueprint`, one for each token embedding, in the order of the model's layers.

    Example:

    >>> import keras
    >>> from kexue_keras import models
    >>> from kexue_keras.models.transformer import blueprints_of
    >>> bert = models.Bert(20, 8, 1, 2, 16)
    >>> classifier = keras.Model(bert.inputs, keras.layers.Dense(2)(bert.output))
    >>> [found.application for found in blueprints_of(classifier)]
    ['encoder']
    """
    containers = [x for x in (model, *backend.layers_of(model)) if isinstance(x, keras.Model)]
    found, owned, plain = {}, {}, []
    for container in containers:
        if isinstance(container, Transformer):
            blueprint = container.blueprint
            found[id(blueprint.token_embedding())] = blueprint
            continue
        tables = [layer for layer in container.layers if _is_described(layer)]
        for table in tables:
            owned.setdefault(id(table), (table, []))[1].append(container)
        if not tables:
            plain.append(container)
    for key, (table, owners) in owned.items():
        if key not in found:
            found[key] = _adopt(table, owners, plain)
    return list(found.values())


def _is_described(layer):
    return isinstance(layer, layers.Embedding) and layer.blueprint is not None


def _adopt(embedding, owners, others):
    """The blueprint of the transformer that `embedding` describes, with a model's layers.

    Args:
        embedding: a token embedding.
        owners: the models that have it among their layers.
        others: models without a token embedding, which may have more layers of the transformer.
    """
    config = dict(embedding.blueprint)
    blueprint = family_of(config.pop("family"))(**config)
    ours, prefix = blueprint.variable_mapping(), blueprint.config["prefix"]
    for container in (*owners, *others):
        for layer in container.layers:
            name = layer.name.removeprefix(prefix)
            known = blueprint.layers.setdefault(name, layer)
            if known is not layer and name in ours:
                raise ValueError(
                    f"`model` must have one layer of the name {layer.name!r}. Received: "
                    f"{container.name!r}, which has another one than {owners[0].name!r}"
                )
    blueprint.model, blueprint.sealed = owners[0], True
    if blueprint.condition_model is not None:
        blueprint.condition_model = keras.models.clone_model(
            blueprint.condition_model, clone_function=lambda layer: blueprint.layers[layer.name]
        )
    return blueprint
