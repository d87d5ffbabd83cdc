"""NeuMF: a product of vectors and a network judge the pair of user and item together."""

from typing import Any

from daogou.networks.pairs import PairConfig, Pairs, joined


class NeuMf(Pairs):
    """Neural matrix factorisation (He et al. 2017, eq. 12): ŷ_ui = σ(h · [p_u ⊙ q_i ; φ([p′_u ; q′_i])])

    The first half of each vector goes to the product, the second to φ, relu layers of width 2D, D and D/2. Trained together from random vectors, without
    the paper's separate pretraining.
    """

    Settings = PairConfig
    config: PairConfig

    def _width(self) -> int:
        return 2 * self.config.dimensions

    def _network(self, k: Any) -> Any:
        ops, d = k.ops, self.config.dimensions

        class Both(k.layers.Layer):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__(name="neumf")
                self.hidden = [k.layers.Dense(max(1, n), activation="relu", name=f"dense_{i}") for i, n in enumerate((2 * d, d, d // 2))]
                self.out = k.layers.Dense(1, name="out")

            def build(self, *shapes: Any) -> None:
                """Its layers build themselves when first called."""

            def call(self, users: Any, items: Any, training: bool = False) -> Any:
                x = joined(ops, self.hidden[0], users[..., d:], items[..., d:])
                for layer in self.hidden[1:]:
                    x = layer(x)
                return self.out(ops.concatenate([users[..., :d] * items[..., :d], x], axis=-1))[..., 0]

        return Both()
