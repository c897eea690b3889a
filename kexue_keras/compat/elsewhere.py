"""What to use for the names of bert4keras that are not here, and the table of all its names."""

import importlib

_GRAPH = "Keras 3 has no graph of its own. "
_PREDECESSOR = "of old versions of Keras or Python; nothing is needed in its place"
_BLUEPRINT = (
    "build_transformer_model(model={!r}); for a family of your own, a subclass of "
    "kexue_keras.models.Blueprint"
)
_OWN_REGISTRY = "@keras.saving.register_keras_serializable; ours are registered"
_VERSIONED = "the name without the version"

ELSEWHERE = {
    "backend": {
        "Sinusoidal": "keras_hub.layers.SinePositionEncoding, or a NumPy table as a constant",
        "apply_rotary_position_embeddings": "kexue_keras.layers.apply_rotary_positions",
        "attention_normalize": "kexue_keras.layers.MultiHeadAttention(attention_scale=, "
        "normalizer=)",
        "custom_objects": _OWN_REGISTRY,
        "divisible_temporal_padding": "keras.ops.pad",
        "do_recompute": "keras.RematScope",
        "graph_mode_decorator": "keras.ops.custom_gradient",
        "pool1d": "keras.ops.max_pool or keras.ops.average_pool",
        "recompute_grad": "keras.remat or keras.RematScope",
        "sinusoidal_embeddings": "kexue_keras.layers.relative_positions",
    },
    "keras_backend": {
        "function": _GRAPH + "Call the model, or make a keras.Model of the tensors",
        "gradients": _GRAPH
        + "Adversarial training, gradient penalty and virtual adversarial training are "
        "kexue_keras.training.AdversarialTraining, GradientPenalty and "
        "VirtualAdversarialTraining around the model; other gradients "
        "kexue_keras.backend.value_and_grad",
        "in_train_phase": _GRAPH + "Give the layer's `call` an argument `training`",
        "in_test_phase": _GRAPH + "Give the layer's `call` an argument `training`",
        "learning_phase": _GRAPH + "Give the layer's `call` an argument `training`",
        "set_learning_phase": _GRAPH + "Call the model with `training=`",
        "get_session": _GRAPH + "Nothing is needed in its place",
        "set_session": _GRAPH + "Nothing is needed in its place",
        "placeholder": "Use keras.Input",
        "symbolic": _GRAPH + "Nothing is needed in its place",
        "print_tensor": "Use print, or jax.debug.print and tf.print in compiled programs",
        "rnn": "Use keras.ops.scan",
        "foldl": "Use keras.ops.fori_loop",
        "foldr": "Use keras.ops.fori_loop",
        "map_fn": "Use keras.ops.vectorized_map",
    },
    "layers": {
        "BatchConcat": "keras.distribution or tf.distribute",
        "BatchSplit": "keras.distribution or tf.distribute",
        "GatedAttentionUnit": "kexue_keras has no gated attention unit",
        "Model": "keras.Model",
        "Node": _PREDECESSOR,
        "NodeBase": _PREDECESSOR,
        "RelativePositionEmbedding": 'kexue_keras.layers.MultiHeadAttention(position="relative")',
        "RelativePositionEmbeddingT5": 'build_transformer_model(model="t5.1.1"), whose attention '
        "has them",
        "ScaleOffset": "kexue_keras.layers.LayerNormalization or kexue_keras.layers.BiasAdd",
        "SinusoidalPositionEmbedding": "kexue_keras.layers.apply_rotary_positions and "
        "relative_positions",
        "custom_objects": _OWN_REGISTRY,
        "integerize_shape": _PREDECESSOR,
        "recompute_grad": "keras.remat or keras.RematScope",
    },
    "models": {
        **{
            name: _BLUEPRINT.format(model)
            for name, model in {
                "ALBERT": "albert",
                "ALBERT_Unshared": "albert_unshared",
                "BERT": "bert",
                "ELECTRA": "electra",
                "GPT": "gpt",
                "GPT2": "gpt2",
                "GPT2_ML": "gpt2_ml",
                "NEZHA": "nezha",
                "RoFormer": "roformer",
                "RoFormerV2": "roformer_v2",
                "T5": "t5.1.1",
                "T5_Base": "t5.1.1",
                "T5_Decoder": "t5.1.1_decoder",
                "T5_Encoder": "t5.1.1_encoder",
            }.items()
        },
        "LM_Mask": 'build_transformer_model(application="lm")',
        "Transformer": "kexue_keras.models.Blueprint",
        "UniLM_Mask": 'build_transformer_model(application="unilm")',
        "data_parallel": "keras.distribution.DataParallel (JAX) or tf.distribute.MirroredStrategy",
        "extend_with_language_model": 'build_transformer_model(application="lm")',
        "extend_with_unified_language_model": 'build_transformer_model(application="unilm")',
    },
    "optimizers": {
        "AdaFactorBase": "AdaFactor",
        "AdaFactorV1": "AdaFactor",
        "AdaFactorV2": "AdaFactor",
        "LionV2": "Lion",
        "custom_objects": _OWN_REGISTRY,
        "export_to_custom_objects": _OWN_REGISTRY,
        **{
            f"extend_with_{name}_v2": f"extend_with_{name}"
            for name in (
                "exponential_moving_average",
                "gradient_accumulation",
                "layer_adaptation",
                "lazy_optimization",
                "lookahead",
                "parameter_wise_lr",
                "piecewise_linear_lr",
                "weight_decay",
            )
        },
    },
    "snippets": {
        "Hook": _PREDECESSOR,
        "basestring": "str",
        "convert_to_str": "bytes.decode",
        "convert_to_unicode": "bytes.decode",
        "delete_arguments": _PREDECESSOR,
        "insert_arguments": "arguments of `__init__`",
        "is_py2": "False",
        "lowercase_and_normalize": "kexue_keras.tokenizers.Tokenizer(do_lower_case=True)",
        "orthogonally_resize": "keras.initializers.Orthogonal, or a model of the size wanted",
        "strQ2B": 'unicodedata.normalize("NFKC", text)',
    },
    "tokenizers": {"TokenizerBase": "kexue_keras.tokenizers.Tokenizer"},
}


def refuse(module, name):
    """Raises what `from MODULE import NAME` is to say, for a name that is not here."""
    advice = ELSEWHERE[module].get(name)
    if module == "keras_backend":
        raise AttributeError(f"`K.{name}` is not in Keras 3. {advice}")
    if advice is not None:
        raise ImportError(
            f"`{name}` of bert4keras is not in kexue_keras.compat.{module}. Use: {advice}"
        )
    raise AttributeError(f"module 'kexue_keras.compat.{module}' has no attribute {name!r}")


def table(names):
    """Markdown: each public name of bert4keras, and where it is.

    Args:
        names: dict of module to the public names of bert4keras's.
    """
    lines = ["| bert4keras | here |", "|---|---|"]
    for module, known in names.items():
        ours = importlib.import_module(f"kexue_keras.compat.{module}")
        for name in sorted(known):
            if name in ELSEWHERE[module]:
                here = f"not here; use: {ELSEWHERE[module][name]}"
            else:
                here = _place(getattr(ours, name), f"kexue_keras.compat.{module}", name)
            lines.append(f"| `{module}.{name}` | {here} |")
    return "\n".join(lines) + "\n"


def _place(thing, module, name):
    defined = getattr(thing, "__module__", None) or module
    if defined.startswith("keras."):
        defined = "keras"
    elif defined.startswith("kexue_keras.") and not defined.startswith("kexue_keras.compat"):
        defined = ".".join(defined.split(".")[:2])
    else:
        return f"`kexue_keras.compat.{module.split('.')[-1]}.{name}`"
    return f"`{defined}.{getattr(thing, '__name__', name)}`"
