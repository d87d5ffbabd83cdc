"""NCF: a network judges the pair of user and item."""

from typing import Any

from daogou.networks.pairs import PairConfig, Pairs, joined


class Ncf(Pairs):
    """Neural collaborative filtering (He et al. 2017, eq. 3), the classical network:

        ŷ_ui = σ(w · relu(W₂ relu(W₁ [p_u ; q_i] + b₁) + b₂) + b),   128 and 64 wide

    user and item embedding joined, dense 128 relu, dense 64 relu, dense 1 sigmoid, binary cross-entropy, Adam. Scores are the logits, which order as
    the sigmoid does.
    """

    Settings = PairConfig
    config: PairConfig
    start_scale = 3.0  # relu layers learn more from embeddings of this size than of 2 (validation of ml-1m)

    def _width(self) -> int:
        return self.config.dimensions

    def _network(self, k: Any) -> Any:
        return tower(k, "ncf", (128, 64))


def tower(k: Any, name: str, widths: tuple[int, ...]) -> Any:
    """A Keras layer: vectors of users and of items joined, relu layers, one logit."""
    ops = k.ops

    class Tower(k.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=name)
            self.hidden = [k.layers.Dense(n, activation="relu", name=f"dense_{n}") for n in widths]
            self.out = k.layers.Dense(1, name="dense_1")

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def call(self, users: Any, items: Any, training: bool = False) -> Any:
            x = joined(ops, self.hidden[0], users, items)
            for layer in self.hidden[1:]:
                x = layer(x)
            return self.out(x)[..., 0]

    return Tower()
