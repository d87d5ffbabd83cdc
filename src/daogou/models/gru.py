"""A recurrent network over the history, trained to name the next item."""

from typing import Annotated, Any

from daogou.config import hyper
from daogou.networks.sequence import Sequence, SequenceConfig


class GruConfig(SequenceConfig, frozen=True):
    layers: Annotated[int, hyper("Recurrent layers.", 1, 3, ge=1)] = 1
    units: Annotated[int, hyper("Width of the recurrent state.", 64, 512, log=True, ge=4)] = 128


class Gru(Sequence):
    """GRU4Rec (Hidasi et al. 2016; Hidasi & Karatzoglou 2018): item vectors → gated recurrent units (Cho 2014) → a linear map to item space

        z = σ(W_z x + U_z h),   r = σ(W_r x + U_r h),   h ← z ⊙ h + (1 − z) ⊙ tanh(W x + r ⊙ U h),   scores = (V h) · Eᵀ

    with one table E for input and output (constrained embedding) and cross-entropy over shared sampled negatives, or the whole catalogue: both are what
    the authors' own code needs for its figures. Padding leaves the state as it is. Step by step by nature: a batch costs L products in a row, so wide
    batches (`batch_tokens`) pay.
    """

    Settings = GruConfig
    config: GruConfig

    def _states(self, k: Any) -> Any:
        config, ops = self.config, k.ops

        class Recurrent(k.layers.Layer):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__(name="recurrent")
                self.layers = [k.layers.GRU(config.units, return_sequences=True, name=f"gru_{n}") for n in range(config.layers)]
                self.drops = [k.layers.Dropout(config.dropout, name=f"drop_{n}") for n in range(config.layers)]
                self.out = k.layers.Dense(config.dimensions, use_bias=False, name="out")

            def build(self, *shapes: Any) -> None:
                """Its layers build themselves when first called."""

            def call(self, x: Any, real: Any, training: bool = False) -> Any:
                real = ops.cast(real, "bool")
                for layer, drop in zip(self.layers, self.drops, strict=True):
                    x = drop(layer(x, mask=real, training=training), training=training)
                return self.out(x)

        return Recurrent()
