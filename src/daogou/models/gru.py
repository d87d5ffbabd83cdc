"""A recurrent network over the history, trained to name the next item."""

from typing import Annotated, Any

from daogou.config import hyper
from daogou.networks.sequence import Sequence, SequenceConfig


class GruConfig(SequenceConfig, frozen=True):
    layers: Annotated[int, hyper("Recurrent layers.", 1, 3, ge=1)] = 1
    units: Annotated[int, hyper("Width of the recurrent state.", 64, 512, log=True, ge=4)] = 128


class Gru(Sequence):
    """GRU4Rec (Hidasi et al. 2016; Hidasi & Karatzoglou 2018): item vectors x → gated recurrent units (Cho 2014) → a linear map to item space

        z = σ(W_z x + U_z h),   r = σ(W_r x + U_r h),   h ← z ⊙ h + (1 − z) ⊙ tanh(W x + r ⊙ U h),   scores = norm(x + V h) · Eᵀ

    with one table E for input and output (constrained embedding) and cross-entropy over shared sampled negatives, or the whole catalogue: both are what
    the authors' own code needs for its figures. Not theirs: the newest item's vector is added and the sum normalised (Ba 2016), and V starts at 0, so that
    the first state is the newest item's vector and a warm start of E counts from the first step. Padding leaves the state as it is. Step by step by nature:
    a batch costs L products in a row.
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
                self.out = k.layers.Dense(config.dimensions, use_bias=False, kernel_initializer="zeros", name="out")
                self.norm = k.layers.LayerNormalization(epsilon=1e-6, name="norm_out")

            def build(self, *shapes: Any) -> None:
                """Its layers build themselves when first called."""

            def call(self, x: Any, real: Any, training: bool = False) -> Any:
                real, h = ops.cast(real, "bool"), x
                for layer, drop in zip(self.layers, self.drops, strict=True):
                    h = drop(layer(h, mask=real, training=training), training=training)
                return self.norm(x + self.out(h))

        return Recurrent()
