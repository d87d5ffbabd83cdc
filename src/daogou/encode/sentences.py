"""Sentence encoders from a directory of this machine, in the layout of sentence-transformers: weights as safetensors or ONNX, never as a pickle.

Nothing is downloaded, and no code of the directory is run: the network is the one of `bert`, or an ONNX graph.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a file is opened by its path; should a library think otherwise, it must not ask anyone
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from tokenizers import Tokenizer

from daogou.contract import Mask, Scores
from daogou.encode.bert import Bert, Shape
from daogou.encode.texts import encoded
from daogou.errors import ConfigError, MissingExtra

BATCH = 32
TOKENS = 256
"""Longest text, whatever the model could read."""
WEIGHTS = ("model.safetensors", "onnx/model.onnx", "model.onnx")
PICKLES = ("pytorch_model.bin", "tf_model.h5")
LAYERS = ("Transformer", "Pooling", "Normalize")

Forward = Callable[[NDArray[np.int64], Mask], Scores]
"""Tokens and which are there [N, T] → [N, T, H]."""


class SentenceTransformers:
    """A model as ``SentenceTransformer.save`` writes it: transformer, pooling by mean, first token or maximum, unit length.

    Args:
        directory: where it lies; relative to the working directory.
        prompt: put before every text (e5 wants ``query: ``).

    Raises:
        ConfigError: no such directory, something in it is missing or damaged, or a model of another kind.
    """

    id = "sentence-transformers"
    kind = "text"

    def __init__(self, directory: str, prompt: str = "") -> None:
        self._home = Path(directory).expanduser()
        if not self._home.is_dir():
            raise self._wrong("there is no such directory", "a directory of a sentence-transformers model on this machine; nothing is downloaded")
        self._prompt = prompt
        self._transformer = self._home / self._layers().get("Transformer", "")
        self._pool = self._pooling()
        self._tokenizer = self._tokens()
        self._weights_file = self._found(WEIGHTS)
        self._forward, self.dim, most = self._network()
        self._tokenizer.enable_truncation(min(most, TOKENS))
        self._tokenizer.enable_padding()
        self._lock = threading.Lock()
        self.version = "-".join(
            part for part in (self._home.resolve().name, self._pool, hashlib.sha256(prompt.encode()).hexdigest()[:6] if prompt else "") if part
        )

    @cached_property
    def weights(self) -> str:
        """sha256 of the weights file."""
        with self._weights_file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        return encoded(things, self.dim, self._all)

    def _all(self, texts: list[str]) -> Scores:
        """Texts of like length together: a batch is as long as its longest."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        out_ND = np.zeros((len(texts), self.dim), np.float32)
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            out_ND[rows] = self._some([self._prompt + texts[row] for row in rows])
        return out_ND

    def _some(self, texts: list[str]) -> Scores:
        with self._lock:
            read = self._tokenizer.encode_batch(texts)
            ids_NT, mask_NT = np.array([one.ids for one in read], np.int64), np.array([one.attention_mask for one in read], np.bool_)
            states_NTH = self._forward(ids_NT, mask_NT)
        if self._pool == "cls":
            return np.asarray(states_NTH[:, 0])
        if self._pool == "max":
            return np.asarray(np.where(mask_NT[:, :, None], states_NTH, -np.inf).max(axis=1))
        return np.asarray((states_NTH * mask_NT[:, :, None]).sum(axis=1) / np.maximum(mask_NT.sum(axis=1), 1)[:, None])

    # ---- the directory
    def _layers(self) -> dict[str, str]:
        """Kind of layer → its folder."""
        if not (self._home / "modules.json").exists():
            return {}  # a plain transformer: pooled by mean
        layers = {str(layer.get("type", "")).rsplit(".", 1)[-1]: str(layer.get("path", "")) for layer in self._json("modules.json", list[dict[str, Any]])}
        if others := [name for name in layers if name not in LAYERS]:
            raise self._wrong(f"a layer {others[0]!r}", " and ".join(LAYERS) + " only", "choose another model, or serve this one behind the encoder openai")
        if any(".." in Path(path).parts or Path(path).is_absolute() for path in layers.values()):
            raise self._wrong("modules.json names a folder elsewhere", "folders of the model's directory")
        return layers

    def _pooling(self) -> str:
        folder = self._layers().get("Pooling")
        if folder is None:
            return "mean"
        modes = {name for name, on in self._json(f"{folder}/config.json", dict[str, Any]).items() if name.startswith("pooling_mode_") and on is True}
        known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}
        if len(modes) != 1 or not modes <= set(known):
            raise self._wrong(f"pooling by {', '.join(sorted(modes)) or 'nothing'}", "one of " + ", ".join(known))
        return known[modes.pop()]

    def _tokens(self) -> Tokenizer:
        path = self._transformer / "tokenizer.json"
        try:
            return Tokenizer.from_str(path.read_text("utf-8"))
        except Exception as e:  # the library raises plain Exception
            raise self._wrong(f"tokenizer.json cannot be read ({e})", "the file that tokenizers write", "save the model again with a fast tokenizer") from e

    def _found(self, names: Sequence[str]) -> Path:
        found = [self._transformer / name for name in names if (self._transformer / name).is_file()]
        if found:
            return found[0]
        pickled = [name for name in PICKLES if (self._transformer / name).exists()]
        what = f"weights as {pickled[0]}, a format that can run code" if pickled else "no weights"
        raise self._wrong(what, " or ".join(names), "save the model as safetensors: model.save(path, safe_serialization=True)")

    def _network(self) -> tuple[Forward, int, int]:
        """The network, its dimension and the longest text it reads, in tokens."""
        config = self._json("config.json", dict[str, Any], self._transformer)
        if "auto_map" in config:
            raise self._wrong("a model that brings its own code", "one of the library's own architectures", "choose another model; its code would run unread")
        longest = TOKENS
        if (self._transformer / "sentence_bert_config.json").exists():
            longest = int(self._json("sentence_bert_config.json", dict[str, Any], self._transformer).get("max_seq_length") or TOKENS)
        if self._weights_file.suffix == ".onnx":
            return _graph(self._weights_file), int(config["hidden_size"]), longest
        try:
            network = Bert(msgspec.convert(config, Shape), load_file(self._weights_file))
        except (SafetensorError, KeyError, ValueError, TypeError, IndexError) as e:
            fix = "export it: optimum-cli export onnx --model DIR DIR/onnx (onnxruntime comes with the extra `vision`)"
            raise self._wrong(f"not a network that is known here ({e})", "bert, roberta or xlm-roberta as safetensors, or model.onnx", fix) from e
        return network, int(config["hidden_size"]), min(longest, network.longest)

    def _json(self, name: str, kind: Any, home: Path | None = None) -> Any:
        try:
            return msgspec.json.decode(((home or self._home) / name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError) as e:
            raise self._wrong(f"{name} cannot be read ({e})", "the file that sentence-transformers writes") from e

    def _wrong(self, found: str, expected: str, fix: str = "") -> ConfigError:
        return ConfigError(found, expected=expected, fix=fix, where=str(self._home.absolute()), field="directory")


def _graph(path: Path) -> Forward:
    try:
        import onnxruntime
    except ModuleNotFoundError as e:
        raise MissingExtra("onnxruntime, which runs model.onnx,", "vision") from e
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # the library's errors have no common base of their own
        raise ConfigError(f"the graph cannot be loaded ({str(e)[:200]})", expected="ONNX without files beside it", where=str(path), field="directory") from e
    wanted = {one.name for one in session.get_inputs()}

    def forward(ids_NT: NDArray[np.int64], mask_NT: Mask) -> Scores:
        given = {"input_ids": ids_NT, "attention_mask": mask_NT.astype(np.int64), "token_type_ids": np.zeros_like(ids_NT)}
        return np.asarray(session.run(None, {name: given[name] for name in wanted})[0], np.float32)

    return forward
