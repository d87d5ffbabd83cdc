"""Bring your own network: any compiled Keras model of a history, or of user and item, as a recommender."""

import json
from importlib import import_module
from typing import Annotated, Any, Self

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import Config
from daogou.contract import Codes, Queries, Run, Scores
from daogou.data.dataset import Dataset
from daogou.data.histories import Histories
from daogou.errors import ConfigError, TrainingError
from daogou.families import Base, State
from daogou.networks import weights
from daogou.networks.backend import Inference, keras, require
from daogou.networks.pairs import Examples

require()

FEW, MANY = 16, 256  # histories in a batch beside 1: few shapes, because each costs a compilation
PAIRS = 4096  # pairs in a batch


class KerasConfig(Config, frozen=True):
    build: Annotated[
        str, Meta(description="`module:function` that returns a compiled keras.Model, called with n_users, n_items, length; empty for a wrapped model.")
    ] = ""
    length: Annotated[int, Meta(ge=1, description="Newest events that a network of histories sees.")] = 50
    targets: Annotated[int, Meta(ge=1, description="Newest events of each history that are learned as answers to what lies before them.")] = 20
    negatives: Annotated[int, Meta(ge=1, description="Random items beside each event that a network of pairs learns from.")] = 4
    epochs: Annotated[int, Meta(ge=1, description="Passes over the examples.")] = 5
    batch_size: Annotated[int, Meta(ge=1, description="Examples of a batch.")] = 256


class KerasModel(Base):
    """Codes go into the network as code + 1; 0 is padding, or somebody unknown.

        one input    [B, length], oldest first, padded on the left  →  a score for each item: [B, I], or [B, I + 1] whose first is the padding's
        two inputs   user [B, 1] and item [B, 1]                    →  a score for each pair: [B, 1]

    A network of histories is trained on the next item's number (compile it with a sparse categorical loss), a network of pairs on 1 for events and 0 for
    random items (binary cross-entropy). Either daogou builds and trains it (`build`), or it was trained elsewhere: `KerasModel.of`.
    Saved as the JSON of its layers and its weights; layers of one's own are registered with `keras.saving.register_keras_serializable` and imported before
    loading; code in files (`Lambda` layers) is refused. A network of pairs keeps a row for each person: guests are user 0 to it.
    """

    Settings = KerasConfig
    config: KerasConfig
    model: Any = None
    n_users: int = 0

    @classmethod
    def of(cls, model: Any, n_items: int, *, n_users: int = 0, **settings: Any) -> Self:
        """A recommender that answers with `model` as it is; fitting it again starts from the weights it has now.

        Args:
            n_users: how many users a network of pairs knows; later ones are user 0.

        Raises:
            ConfigError: its inputs or outputs are not one of the two forms.
        """
        made = cls(**settings)
        made.n_items, made.n_users = n_items, n_users
        made._take(model)
        made._learned_I = np.ones(n_items, np.bool_)
        made._first = weights.read(model)
        return made

    # ---- fitting
    def _fit(self, data: Dataset, run: Run) -> None:
        k = keras(run.threads)
        k.utils.set_random_seed(run.seed)
        self.n_users = data.n_users
        if self.config.build:
            k.utils.clear_session(free_memory=False)  # names of layers are counted from the start, so that the same fit gives the same files
            self._take(_function(self.config.build)(n_users=data.n_users, n_items=data.n_items, length=self.config.length))
        elif self.model is None:
            raise TrainingError("no network was given", fix="name a function that builds one in `build`, or wrap a model with KerasModel.of")
        else:
            self._take(self.model)
            weights.write(self.model, self._first)
        if not self.model.compiled:
            raise TrainingError(f"the network {self.model.name!r} is not compiled", fix="call compile() with an optimizer and a loss where it is built")
        inputs, wanted = self._examples(data.histories, np.random.default_rng(run.seed))
        self._learned_I = (np.bincount(data.histories.item, minlength=self.n_items) > 0) & (len(wanted) > 0)
        if len(wanted):
            callbacks = [k.callbacks.TerminateOnNaN(), *([_told(k, run, self.config.epochs)] if run.progress else [])]
            self.model.fit(inputs, wanted, batch_size=self.config.batch_size, epochs=self.config.epochs, verbose=0, callbacks=callbacks)

    def _examples(self, histories: Histories, rng: np.random.Generator) -> tuple[Any, NDArray[Any]]:
        if self._pairs:
            seen = histories.matrix(self.n_items)
            seen.sort_indices()
            user, item, label, weight = Examples(seen, self.config.negatives, 1).whole(rng)
            real = weight > 0
            return [user[real, None] + 1, item[real, None] + 1], label[real, None]
        codes_NL, wanted_N = next_items(histories, self.config.length, self.config.targets)
        return codes_NL, wanted_N + self._first_score

    def _take(self, model: Any) -> None:
        n, scores = len(model.inputs), int(model.outputs[0].shape[-1])
        if n not in (1, 2):
            raise ConfigError(f"the network {model.name!r} has {n} inputs", expected="one (a history) or two (user and item)")
        if n == 1 and scores not in (self.n_items, self.n_items + 1):
            expected = f"{self.n_items}, one for each item, or {self.n_items + 1} with the padding's first"
            raise ConfigError(f"the network {model.name!r} gives {scores} scores", expected=expected, fix="size its last layer by n_items")
        if n == 2 and scores != 1:
            raise ConfigError(f"the network {model.name!r} gives {scores} scores for a pair", expected="one", fix="end it with a layer of width 1")
        self.model, self._pairs, self._first_score = model, n == 2, int(n == 1 and scores > self.n_items)
        self._run = Inference(model)

    # ---- answering
    def _score(self, queries: Queries) -> Scores:
        scores_BI = self._of_pairs(queries) if self._pairs else self._of_histories(queries.history)
        scores_BI[:, ~self._learned_I] = -np.inf
        return scores_BI

    def _of_histories(self, history: Histories) -> Scores:
        """A history without a known item is not judged: −inf."""
        history = history.keep((history.item >= 0) & (history.item < self.n_items))
        out_BI = np.full((len(history), self.n_items), -np.inf, np.float32)
        some = np.flatnonzero(history.lengths)
        size = 1 if len(some) == 1 else FEW if len(some) <= FEW else MANY
        for first in range(0, len(some), size):
            rows = some[first : first + size]
            codes_BL = np.zeros((size, self.config.length), np.int32)
            codes_BL[: len(rows)] = padded(history[rows], self.config.length)
            out_BI[rows] = self._run(codes_BL)[: len(rows), self._first_score :]
        return out_BI

    def _of_pairs(self, queries: Queries) -> Scores:
        user_B = np.where((queries.user_B >= 0) & (queries.user_B < self.n_users), queries.user_B + 1, 0)
        user_P = np.repeat(user_B, self.n_items)
        item_P = np.tile(np.arange(1, self.n_items + 1), len(user_B))
        out_P = np.empty(len(user_P), np.float32)
        for first in range(0, len(user_P), PAIRS):
            both = [np.resize(codes[first : first + PAIRS], (PAIRS, 1)).astype(np.int32) for codes in (user_P, item_P)]
            out_P[first : first + PAIRS] = self._run(both)[: len(out_P) - first, 0]
        return out_P.reshape(len(user_B), self.n_items)

    # ---- files
    def _state(self) -> State:
        layers = np.frombuffer(json.dumps(_layers(self.model), sort_keys=True).encode(), np.uint8)
        about: State = {"layers": layers, "learned": self._learned_I.astype(np.uint8), "n_users": np.array([self.n_users])}
        return {**about, **{f"weights.{key}": value for key, value in weights.read(self.model).items()}}

    def _restore(self, state: State) -> None:
        model = keras().models.model_from_json(np.asarray(state["layers"], np.uint8).tobytes().decode())
        self._first = {key.removeprefix("weights."): np.asarray(value) for key, value in state.items() if key.startswith("weights.")}
        weights.write(model, self._first)
        self.n_users, self._learned_I = int(np.asarray(state["n_users"])[0]), np.asarray(state["learned"]).astype(np.bool_)
        self._take(model)


def _layers(model: Any) -> dict[str, Any]:
    """What `model_from_json` builds the model from: its layers, without optimizer and loss, which serving does not need."""
    kind = type(model)
    registered = keras().saving.get_registered_name(kind)
    return {"module": kind.__module__, "class_name": kind.__name__, "registered_name": registered, "config": model.get_config()}


def padded(histories: Histories, length: int) -> Codes:
    """[B, length] codes + 1 of the newest events, oldest first, 0 on the left."""
    newest = histories.tail(length)
    codes_BL = np.zeros((len(histories), length), np.int32)
    codes_BL[newest.row, length - 1 - newest.age] = newest.item + 1
    return codes_BL


def next_items(histories: Histories, length: int, targets: int) -> tuple[Codes, Codes]:
    """What lay before each of the newest `targets` events that has something before it [N, length], and that event's code [N]."""
    wanted = np.flatnonzero((histories.age < targets) & (np.arange(len(histories.item)) > np.repeat(histories.start[:-1], histories.lengths)))
    first = np.repeat(histories.start[:-1], histories.lengths)[wanted]
    at_NL = wanted[:, None] - length + np.arange(length)
    return np.where(at_NL >= first[:, None], histories.item[np.maximum(at_NL, 0)] + 1, 0).astype(np.int32), histories.item[wanted]


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as e:
        raise ConfigError(
            f"cannot find {name!r} ({e})", expected="`module:function`", fix="install the module, or put its folder into PYTHONPATH", field="build"
        ) from e


def _told(k: Any, run: Run, epochs: int) -> Any:
    class Told(k.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if run.progress:
                run.progress(f"keras loss {(logs or {}).get('loss', float('nan')):.3f}", epoch + 1, epochs)

    return Told()
