"""A step of pretraining: losses as outputs, LAMB, a warm-up, gradients accumulated."""

import numpy as np
from bert4keras.backend import K, keras
from bert4keras.models import build_transformer_model
from bert4keras.optimizers import (
    Adam,
    extend_with_gradient_accumulation,
    extend_with_layer_adaptation,
    extend_with_piecewise_linear_lr,
    extend_with_weight_decay,
)
from steady import NO_DROPOUT

Input, Lambda = keras.layers.Input, keras.layers.Lambda


def mlm_loss(inputs):
    y_true, y_pred, mask = inputs
    losses = K.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
    return K.expand_dims(K.sum(losses * mask) / (K.sum(mask) + K.epsilon()), 0)


def mlm_acc(inputs):
    y_true, y_pred, mask = inputs
    right = keras.metrics.sparse_categorical_accuracy(K.cast(y_true, K.floatx()), y_pred)
    return K.expand_dims(K.sum(right * mask) / (K.sum(mask) + K.epsilon()), 0)


def run(folder):
    bert = build_transformer_model(
        f"{folder}/bert_config.json", with_mlm="linear", return_keras_model=False, **NO_DROPOUT
    )
    token_ids = Input(shape=(None,), dtype="int64", name="token_ids")
    is_masked = Input(shape=(None,), dtype=K.floatx(), name="is_masked")
    parts = [token_ids, bert.model.output, is_masked]
    outputs = [Lambda(mlm_loss, name="mlm_loss")(parts), Lambda(mlm_acc, name="mlm_acc")(parts)]
    model = keras.models.Model(bert.model.inputs + [token_ids, is_masked], outputs)
    optimizer = extend_with_weight_decay(Adam)
    optimizer = extend_with_layer_adaptation(optimizer)
    optimizer = extend_with_piecewise_linear_lr(optimizer)
    optimizer = extend_with_gradient_accumulation(optimizer)
    optimizer = optimizer(
        learning_rate=0.00176,
        lr_schedule={4: 1.0, 100: 0.0},
        weight_decay_rate=0.01,
        exclude_from_weight_decay=["Norm", "bias"],
        exclude_from_layer_adaptation=["Norm", "bias"],
        bias_correction=False,
        grad_accum_steps=2,
    )
    loss = {
        "mlm_loss": lambda y_true, y_pred: y_pred,
        "mlm_acc": lambda y_true, y_pred: K.stop_gradient(y_pred),
    }
    model.compile(loss=loss, optimizer=optimizer)
    bert.load_weights_from_checkpoint(f"{folder}/bert_model.ckpt")
    random = np.random.default_rng(0)
    losses = []
    for _ in range(2):
        ids = random.integers(5, 30, (2, 7))
        hidden = random.integers(0, 2, (2, 7))
        inputs = [np.where(hidden, 4, ids), np.zeros_like(ids), ids, hidden.astype("float32")]
        found = model.train_on_batch(inputs, [np.zeros(2), np.zeros(2)])
        losses.append(float(found[0]))
    return losses
