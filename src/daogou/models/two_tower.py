"""Two towers: what an item is and who has had it, against who someone is and what they had. Answers for goods and people it has never met."""

from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from daogou.contract import Run, Scores
from daogou.data.dataset import Dataset
from daogou.encode.items import Blocks, item_vectors, taught
from daogou.families import State
from daogou.networks.towers import TowerConfig, Towers


class TwoTowerConfig(TowerConfig, frozen=True):
    content: Annotated[Blocks, Meta(description="What of an item is read, and by which encoders: texts, photos and attributes in one vector.")] = Blocks()


class TwoTower(Towers):
    """score = ⟨q_i, p_u⟩ / temperature, both of unit length (Covington et al. 2016; Yi et al. 2019), each tower a linear layer and a residual hidden one:

        z_i = A x_i + e_i,                                q_i = z_i + W′ relu(W z_i + b)
        z_u = Σ_s (A_s x̄_s + B_s ē_s) + C a_u + c,         p_u = z_u + V′ relu(V z_u + d)

    x_i content (attributes, text and photo vectors), e_i the item's own vector (0 where it has no event); x̄_s and ē_s their means over the history, weighted
    by e^(−age/scale) at two scales of recency; a_u registration attributes.
    """

    Settings = TwoTowerConfig
    config: TwoTowerConfig

    def _content(self, data: Dataset, run: Run) -> Scores:
        how = self.config.content
        own = taught(data.item_table, data.item_kinds, how, run)
        return item_vectors(data.item_table, data.item_kinds, how, cached=run.vectors, photos=run.photos, progress=run.progress, own=own)

    def prepare(self, data: Dataset, run: Run) -> None:
        """As `content` does: encoders that the shop's photos must teach learn once, before models are timed."""
        taught(data.item_table, data.item_kinds, self.config.content, run)

    def _towers(self, k: Any) -> tuple[Any, Any]:
        return _tower(k, "items", self.config.dimensions), _tower(k, "people", self.config.dimensions)

    def _items(self, weights: State, content_CF: Scores, own_CD: Scores) -> Scores:
        return _residual(weights, "items", content_CF @ weights["items.content.kernel"] + weights["items.content.bias"] + own_CD)

    def _people(self, weights: State, content_BSF: Scores, own_BSD: Scores, attributes_BA: Scores) -> Scores:
        flat = [x.reshape(len(x), x.shape[1] * x.shape[2]) for x in (content_BSF, own_BSD)]
        z = flat[0] @ weights["people.content.kernel"] + weights["people.content.bias"] + flat[1] @ weights["people.own.kernel"]
        return _residual(weights, "people", z + (attributes_BA @ weights["people.attributes.kernel"] if attributes_BA.shape[1] else 0))


def _residual(weights: State, side: str, z: Any) -> Scores:
    hidden = np.maximum(z @ weights[f"{side}.hidden.kernel"] + weights[f"{side}.hidden.bias"], 0)
    return np.asarray(z + hidden @ weights[f"{side}.out.kernel"], np.float32)


def _tower(k: Any, side: str, dimensions: int) -> Any:
    ops = k.ops

    class Tower(k.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=side)
            self.content = k.layers.Dense(dimensions, name="content")
            self.hidden = k.layers.Dense(2 * dimensions, activation="relu", name="hidden")
            self.out = k.layers.Dense(dimensions, use_bias=False, kernel_initializer="zeros", name="out")
            if side == "people":
                self.own = k.layers.Dense(dimensions, use_bias=False, name="own")
                self.attributes = k.layers.Dense(dimensions, use_bias=False, name="attributes")

        def build(self, *shapes: Any) -> None:
            """Its layers build themselves when first called."""

        def call(self, content: Any, own: Any, attributes: Any = None) -> Any:
            if side == "items":
                z = self.content(content) + own
            else:
                z = self.content(_flat(content)) + self.own(_flat(own))
                z = z + self.attributes(attributes) if attributes.shape[1] else z
            return z + self.out(self.hidden(z))

    def _flat(x: Any) -> Any:
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2]))

    return Tower()
