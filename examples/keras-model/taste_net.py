"""A small network of histories: what was met lately, averaged with learned weights, through one hidden layer."""

import keras


def build(n_users: int, n_items: int, length: int) -> keras.Model:
    """Codes [B, length], 0 = padding on the left → a score for each item [B, n_items]."""
    codes = keras.Input((length,), dtype="int32")
    vectors = keras.layers.Embedding(n_items + 1, 32)(codes)
    newest = keras.layers.Cropping1D((length - 1, 0))(vectors)
    taste = keras.layers.GlobalAveragePooling1D()(vectors)
    x = keras.layers.Concatenate()([taste, keras.layers.Flatten()(newest)])
    x = keras.layers.Dense(64, activation="relu")(x)
    model = keras.Model(codes, keras.layers.Dense(n_items)(x))
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
