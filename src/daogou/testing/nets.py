"""Networks such as somebody outside would bring: for tests of the Keras adapter."""

from typing import Any

from daogou.networks.backend import keras


def history(n_users: int, n_items: int, length: int) -> Any:
    """A history → a score for each item."""
    return _of_history(n_items, length, n_items)


def with_padding(n_users: int, n_items: int, length: int) -> Any:
    """As `history`, with a score for the padding in front."""
    return _of_history(n_items, length, n_items + 1)


def pair(n_users: int, n_items: int, length: int) -> Any:
    """User and item → one probability."""
    k = keras()
    user, item = k.Input((1,), dtype="int32"), k.Input((1,), dtype="int32")
    p, q = (k.layers.Flatten()(k.layers.Embedding(n + 1, 8)(codes)) for n, codes in ((n_users, user), (n_items, item)))
    x = k.layers.Dense(16, activation="relu")(k.layers.Concatenate()([p, q]))
    model = k.Model([user, item], k.layers.Dense(1, activation="sigmoid")(x), name="pair")
    model.compile(optimizer=k.optimizers.Adam(0.01), loss="binary_crossentropy")
    return model


def uncompiled(n_users: int, n_items: int, length: int) -> Any:
    """A network whose author forgot something."""
    k = keras()
    codes = k.Input((length,), dtype="int32")
    return k.Model(codes, k.layers.Dense(n_items)(k.layers.Flatten()(k.layers.Embedding(n_items + 1, 4)(codes))), name="raw")


def _of_history(n_items: int, length: int, scores: int) -> Any:
    k = keras()
    codes = k.Input((length,), dtype="int32")
    x = k.layers.Flatten(name="flat")(k.layers.Embedding(n_items + 1, 16, name="embed")(codes))
    model = k.Model(codes, k.layers.Dense(scores, name="scores")(x), name="history")
    model.compile(optimizer=k.optimizers.Adam(0.02), loss=k.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
