"""NeuMF: a product of vectors and a network judge the pair of user and item together."""

from typing import Annotated, Any

from daogou.config import hyper
from daogou.networks.pairs import PairConfig, Pairs, joined

NO_EVENT = -3.0  # log-odds at the start where the factors say 0


class NeuMfConfig(PairConfig, frozen=True):
    network: Annotated[int, hyper("Length E of the embedding that goes to the relu layers.", 8, 64, log=True, ge=1)] = 32


class NeuMf(Pairs):
    """Neural matrix factorisation (He et al. 2017, eq. 12): ŷ_ui = σ(h · [p_u ⊙ q_i ; φ([p′_u ; q′_i])])

    The first D places of each embedding go to the product, the other E to φ, relu layers of width 2E, E and E/2. The weights of the product in h start
    at 1, as the matrix factorisation that it generalises has them. The paper trains both halves separately before it joins them; here the product may
    start from factors in closed form (`warm_start`), and both are trained together.
    """

    Settings = NeuMfConfig
    config: NeuMfConfig

    def _width(self) -> int:
        return self.config.dimensions + self.config.network

    def _network(self, k: Any) -> Any:
        ops, d, e = k.ops, self.config.dimensions, self.config.network
        none = k.initializers.Constant(NO_EVENT if self.config.warm_start else 0.0)

        def head(shape: tuple[int, ...], dtype: Any = None) -> Any:
            return ops.concatenate([ops.ones((d, 1), dtype), k.initializers.GlorotUniform()((shape[0] - d, 1), dtype)], axis=0)

        class Both(k.layers.Layer):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__(name="neumf")
                self.hidden = [k.layers.Dense(max(1, n), activation="relu", name=f"dense_{i}") for i, n in enumerate((2 * e, e, e // 2))]
                self.out = k.layers.Dense(1, kernel_initializer=head, bias_initializer=none, name="out")

            def build(self, *shapes: Any) -> None:
                """Its layers build themselves when first called."""

            def call(self, users: Any, items: Any, training: bool = False) -> Any:
                x = joined(ops, self.hidden[0], users[..., d:], items[..., d:])
                for layer in self.hidden[1:]:
                    x = layer(x)
                return self.out(ops.concatenate([users[..., :d] * items[..., :d], x], axis=-1))[..., 0]

        return Both()
