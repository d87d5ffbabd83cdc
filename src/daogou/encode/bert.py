"""BERT and its relatives forward, in numpy: tokens in, one vector a token out (Devlin et al. 2019; RoBERTa, Liu et al. 2019, differs in its positions).

Axes: N texts, T tokens, H hidden, A heads, V head width, F intermediate.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from daogou.config import Config
from daogou.contract import Mask, Scores

TYPES = ("bert", "roberta", "xlm-roberta", "camembert")
PREFIXES = ("", "bert.", "roberta.", "model.")
ROBERTA_PADDING = 1  # its positions begin behind the one of padding


class Shape(Config, frozen=True, forbid_unknown_fields=False):
    """What is read of a model's ``config.json``."""

    model_type: str
    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    max_position_embeddings: int = 512
    position_embedding_type: str = "absolute"


class Bert:
    """
    Args:
        tensors: by the names that the transformers library gives them.

    Raises:
        KeyError: a tensor is missing.
        ValueError: an architecture that is not the one of this file.
    """

    def __init__(self, shape: Shape, tensors: Mapping[str, NDArray[Any]]) -> None:
        if shape.model_type not in TYPES or shape.hidden_act not in ("gelu", "relu") or shape.position_embedding_type != "absolute":
            raise ValueError(f"{shape.model_type} with {shape.hidden_act} and {shape.position_embedding_type} positions")
        prefix = next((p for p in PREFIXES if f"{p}embeddings.word_embeddings.weight" in tensors), "")
        self._tensors = {name.removeprefix(prefix): np.asarray(array, np.float32) for name, array in tensors.items() if array.dtype.kind == "f"}
        self._shape = shape
        self._after_padding = 0 if shape.model_type == "bert" else ROBERTA_PADDING + 1
        self.longest = shape.max_position_embeddings - self._after_padding
        self.__call__(np.zeros((1, 1), np.int64), np.ones((1, 1), np.bool_))  # a tensor that is missing is found now

    def __call__(self, ids_NT: NDArray[np.int64], mask_NT: Mask) -> Scores:
        """[N, T, H]; what stands at masked places means nothing."""
        position_NT = np.where(mask_NT, np.cumsum(mask_NT, axis=1) - 1 + self._after_padding, max(0, self._after_padding - 1))
        words, places, kinds = (self._tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
        x = self._normed(words[ids_NT] + places[position_NT] + kinds[0], "embeddings.LayerNorm")
        for layer in range(self._shape.num_hidden_layers):
            at = f"encoder.layer.{layer}."
            x = self._normed(
                x + self._linear(self._attended(x, mask_NT, at + "attention.self."), at + "attention.output.dense"), at + "attention.output.LayerNorm"
            )
            inner = self._linear(x, at + "intermediate.dense")
            active = np.maximum(inner, 0) if self._shape.hidden_act == "relu" else inner * (0.5 * (1 + erf(inner * np.float32(2**-0.5))))
            x = self._normed(x + self._linear(np.asarray(active, np.float32), at + "output.dense"), at + "output.LayerNorm")
        return x

    def _attended(self, x: Scores, mask_NT: Mask, at: str) -> Scores:
        n, t, hidden = x.shape
        heads = self._shape.num_attention_heads
        query, key, value = (self._linear(x, at + name).reshape(n, t, heads, -1).transpose(0, 2, 1, 3) for name in ("query", "key", "value"))
        weight_NATT = query @ key.swapaxes(2, 3) * np.float32((hidden // heads) ** -0.5)
        weight_NATT = np.where(mask_NT[:, None, None, :], weight_NATT, np.float32(-1e9))
        weight_NATT = np.exp(weight_NATT - weight_NATT.max(axis=3, keepdims=True))
        weight_NATT /= weight_NATT.sum(axis=3, keepdims=True)
        return np.asarray((weight_NATT @ value).transpose(0, 2, 1, 3).reshape(n, t, hidden))

    def _linear(self, x: Scores, name: str) -> Scores:
        return np.asarray(x @ self._tensors[f"{name}.weight"].T + self._tensors[f"{name}.bias"])

    def _normed(self, x: Scores, name: str) -> Scores:
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self._shape.layer_norm_eps))
        return np.asarray(x * self._tensors[f"{name}.weight"] + self._tensors[f"{name}.bias"])
