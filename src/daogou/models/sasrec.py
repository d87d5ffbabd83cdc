"""Attention over the history, trained to name the next item."""

from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from daogou.config import hyper
from daogou.contract import Codes, Times
from daogou.errors import ConfigError
from daogou.networks.sequence import Sequence, SequenceConfig

FADING = (3.0, 40.0)  # events after which a head's attention has faded to 1/e at the start: the first head's and the last's
GAPS, GAP_WIDTH = 64, 0.301  # buckets of the gap in time, and their width in natural logarithms of seconds: the last one begins at 5.4 years
FIRST_REAL_US = 100_000_000_000_000  # 1973: earlier times are counters, not clocks


class SasRecConfig(SequenceConfig, frozen=True):
    blocks: Annotated[int, hyper("Attention blocks.", 1, 4, ge=1)] = 2
    heads: Annotated[int, hyper("Attention heads; must divide dimensions.", 1, 4, ge=1)] = 2
    widening: Annotated[int, hyper("Inner width of the feed-forward part, in dimensions.", 1, 4, ge=1)] = 1
    time_gaps: Annotated[bool, Meta(description="Whether attention knows how long before the request each event was. Reads the time of the request.")] = False


class SasRec(Sequence):
    """Self-attentive sequential recommendation (Kang & McAuley 2018) with softmax instead of one-negative BCE, and gated blocks:

    x ← x + σ(W x) ⊙ Attention(norm x),  x ← x + σ(W′ x) ⊙ SwiGLU(norm x)

    (LiGR blocks, arXiv 2502.03417 as used by eSASRec, arXiv 2508.06450; gates let depth help). A position knows the others by how many events ago they
    were: attention's logits get a learned bias for each head and lag (Raffel 2020), which starts as −lag/τ, τ from 3 to 40 events (after Press 2022).
    So all positions of a window teach what the last one answers with; a table of absolute places teaches each place alone. Both parts of a block start
    at 0: the first state is the newest item's vector.

    With `time_gaps`, attention's logits get a second learned bias, for each head and bucket of the time from an event to the moment that is asked about
    (Zhai et al. 2024, arXiv 2402.17152), which starts at 0. That moment is the time of the next event while training and the time of the request when
    answering, so figures of leave-one-out, where it is the time of the answer, stand apart from others. Softmax makes it a matter of events against each
    other: where all gaps are alike, as in data without real times, it says nothing.
    """

    Settings = SasRecConfig
    config: SasRecConfig

    def __init__(self, config: SasRecConfig | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        if self.config.dimensions % self.config.heads:
            raise ConfigError(
                f"{self.config.heads} heads do not divide {self.config.dimensions} dimensions", fix="choose dimensions as a multiple of heads", field="heads"
            )

    def _states(self, k: Any) -> Any:
        return _stack(k, self.config)

    def _told(self, time_BT: Times) -> tuple[Codes, ...]:
        return (gap_buckets(time_BT),) if self.config.time_gaps else ()


def gap_buckets(time_BT: Times) -> Codes:
    """[B, L, L] ⌊ln(max(1, Δt)) / 0.301⌋, Δt the seconds from event k (last axis) to the moment that position q is asked about; at most `GAPS` − 1.

    In numpy, so that every backend has the same buckets. Times that are counters have no gaps: bucket 0.
    """
    gap_us = time_BT[:, 1:, None] - time_BT[:, None, :-1]
    gap_us[np.broadcast_to(time_BT[:, None, :-1] < FIRST_REAL_US, gap_us.shape)] = 0
    buckets = np.log(np.maximum(gap_us / 1e6, 1.0).astype(np.float32)) / np.float32(GAP_WIDTH)
    return np.minimum(buckets, GAPS - 1).astype(np.int32)


def _stack(k: Any, config: SasRecConfig) -> Any:
    ops = k.ops

    def fading(shape: Any, dtype: Any = None) -> Any:
        """[heads, lags] −lag/τ."""
        return ops.convert_to_tensor(-np.arange(shape[1]) / np.geomspace(*FADING, shape[0])[:, None], dtype)

    class Block(k.layers.Layer):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            super().__init__(name=name)
            d, wide = config.dimensions, config.dimensions * config.widening

            def dense(n: int, what: str, start: str = "glorot_uniform") -> Any:
                return k.layers.Dense(n, use_bias=False, kernel_initializer=start, name=what)

            self.norm_a, self.norm_f = (k.layers.LayerNormalization(epsilon=1e-6, name=n) for n in ("norm_attention", "norm_forward"))
            self.qkv, self.out, self.gate_a = dense(3 * d, "qkv"), dense(d, "out", "zeros"), dense(d, "gate_attention")
            self.up, self.down, self.gate_f = dense(2 * wide, "up"), dense(d, "down", "zeros"), dense(d, "gate_forward")
            self.lag = self.add_weight(shape=(config.heads, config.length), initializer=fading, name="lag")
            self.gap = self.add_weight(shape=(config.heads, GAPS), initializer="zeros", name="gap") if config.time_gaps else None
            self.drop_a, self.drop_f = (k.layers.Dropout(config.dropout, name=n) for n in ("drop_attention", "drop_forward"))

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def call(self, x: Any, allowed: Any, *gaps: Any, training: bool = False) -> Any:
            x = x + ops.sigmoid(self.gate_a(x)) * self.drop_a(self.attend(self.norm_a(x), allowed, *gaps), training=training)
            up, gate = ops.split(self.up(self.norm_f(x)), 2, axis=-1)
            return x + ops.sigmoid(self.gate_f(x)) * self.drop_f(self.down(ops.silu(gate) * up), training=training)

        def attend(self, x: Any, allowed: Any, *gaps: Any) -> Any:
            length, h = ops.shape(x)[1], config.heads
            q, key, v = (ops.reshape(t, (-1, length, h, config.dimensions // h)) for t in ops.split(self.qkv(x), 3, axis=-1))
            at = np.arange(length)
            bias = ops.take(self.lag, np.maximum(at[:, None] - at[None, :], 0), axis=1)
            for gap in gaps:
                bias = bias + ops.transpose(ops.take(self.gap, gap, axis=1), (1, 0, 2, 3))
            logits = ops.einsum("bqhd,bkhd->bhqk", q, key) * (config.dimensions // h) ** -0.5 + bias
            share = ops.softmax(ops.where(allowed, logits, -1e9), axis=-1)
            return self.out(ops.reshape(ops.einsum("bhqk,bkhd->bqhd", share, v), (-1, length, config.dimensions)))

    class Stack(k.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="attention")
            self.blocks = [Block(f"block_{n}") for n in range(config.blocks)]
            self.norm = k.layers.LayerNormalization(epsilon=1e-6, name="norm_out")

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def call(self, x: Any, real: Any, *gaps: Any, training: bool = False) -> Any:
            at = ops.arange(ops.shape(x)[1])
            # Padding attends to itself, so that no row of the softmax is empty.
            allowed = (at[None, :] <= at[:, None])[None, None] & (real[:, None, None, :] | (at[None, :] == at[:, None])[None, None])
            for block in self.blocks:
                x = block(x, allowed, *gaps, training=training)
            return self.norm(x)

    return Stack()
