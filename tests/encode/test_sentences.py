"""A sentence encoder from a directory: the network against its formula written out, pooling, what is refused, and nothing from elsewhere."""

import json
import math
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from daogou import plugins
from daogou.data.rows import Item
from daogou.encode import cache, encoder, stamp
from daogou.errors import ConfigError, DaogouError
from daogou.scenario import load_project
from daogou.serve.live import Live
from daogou.serve.metrics import Metrics
from daogou.store import Store

tokenizers = pytest.importorskip("tokenizers", reason="the extra `encoders` is not installed")
from daogou.encode.bert import Bert, Shape  # noqa: E402
from daogou.encode.sentences import SentenceTransformers  # noqa: E402

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "shoes", "blue", "mug", "running", "红", "鞋"]
HIDDEN, HEADS, LAYERS, INNER, POSITIONS = 8, 2, 2, 16, 12


def tensors(kind: str = "bert", seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.5).astype(np.float32)

    out = {
        "embeddings.word_embeddings.weight": draw(len(WORDS), HIDDEN),
        "embeddings.position_embeddings.weight": draw(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": draw(1 if kind != "bert" else 2, HIDDEN),
        "embeddings.LayerNorm.weight": draw(HIDDEN) + 1,
        "embeddings.LayerNorm.bias": draw(HIDDEN),
    }
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            out |= {f"{at}{name}.weight": draw(HIDDEN, HIDDEN), f"{at}{name}.bias": draw(HIDDEN)}
        out |= {f"{at}intermediate.dense.weight": draw(INNER, HIDDEN), f"{at}intermediate.dense.bias": draw(INNER)}
        out |= {f"{at}output.dense.weight": draw(HIDDEN, INNER), f"{at}output.dense.bias": draw(HIDDEN)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            out |= {f"{at}{name}.weight": draw(HIDDEN) + 1, f"{at}{name}.bias": draw(HIDDEN)}
    return out


CONFIG: dict[str, Any] = {
    "model_type": "bert", "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": HIDDEN, "layer_norm_eps": 1e-12,
    "max_position_embeddings": POSITIONS, "vocab_size": len(WORDS),
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A whole model in the layout of sentence-transformers."""
    home = tmp_path / "tiny"
    (home / "1_Pooling").mkdir(parents=True)
    write(home / "modules.json", [{"idx": n, "path": p, "type": f"sentence_transformers.models.{t}"} for n, (p, t) in enumerate(MODULES)])
    write(home / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    write(home / "config.json", CONFIG)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(home / "tokenizer.json"))
    save_file(tensors(), home / "model.safetensors")
    return home


MODULES = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), "utf-8")


def by_hand(ids: list[int], kind: str = "bert") -> np.ndarray:
    """[T, H] one text, token by token and head by head, in float64."""
    w = {name: array.astype(np.float64) for name, array in tensors(kind).items()}

    def norm(row: np.ndarray, name: str) -> np.ndarray:
        return (row - row.mean()) / np.sqrt(row.var() + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(row: np.ndarray, name: str) -> np.ndarray:
        return np.array([w[f"{name}.weight"][o] @ row + w[f"{name}.bias"][o] for o in range(len(w[f"{name}.bias"]))])

    first = 0 if kind == "bert" else 2
    embedded = (w["embeddings.word_embeddings.weight"][i] + w["embeddings.position_embeddings.weight"][first + t] for t, i in enumerate(ids))
    x = [norm(row + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm") for row in embedded]
    for layer in range(LAYERS):
        at, width = f"encoder.layer.{layer}.", HIDDEN // HEADS
        query, key, value = ([linear(row, f"{at}attention.self.{name}") for row in x] for name in ("query", "key", "value"))
        attended = []
        for t in range(len(ids)):
            heads = []
            for a in range(HEADS):
                part = slice(a * width, (a + 1) * width)
                weights = np.exp([query[t][part] @ k[part] / math.sqrt(width) for k in key])
                heads.append(sum(weight * v[part] for weight, v in zip(weights / weights.sum(), value, strict=True)))
            attended.append(np.concatenate(heads))
        x = [norm(row + linear(seen, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm") for row, seen in zip(x, attended, strict=True)]
        inner = [np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in linear(row, f"{at}intermediate.dense")]) for row in x]
        x = [norm(row + linear(gelu, f"{at}output.dense"), f"{at}output.LayerNorm") for row, gelu in zip(x, inner, strict=True)]
    return np.array(x)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_the_network_is_its_formula_and_padding_changes_nothing(kind: str) -> None:
    prefix = "roberta." if kind != "bert" else ""
    network = Bert(Shape(**{n: v for n, v in CONFIG.items() if n != "vocab_size"} | {"model_type": kind}), {prefix + n: t for n, t in tensors(kind).items()})
    ids, mask = np.array([[2, 4, 5, 3], [2, 7, 3, 0]]), np.array([[1, 1, 1, 1], [1, 1, 1, 0]], np.bool_)
    states = network(ids, mask)
    np.testing.assert_allclose(states[0], by_hand([2, 4, 5, 3], kind), atol=2e-5)
    np.testing.assert_allclose(states[1, :3], by_hand([2, 7, 3], kind), atol=2e-5)


def test_texts_become_unit_vectors_of_the_pooled_tokens(home: Path) -> None:
    one = SentenceTransformers(str(home))
    vectors, mask = one.encode(["red shoes", "", "mug", "!?", "red shoes", b"bytes", "红 鞋"])
    assert mask.tolist() == [True, False, True, False, True, False, True] and one.dim == HIDDEN and one.kind == "text"
    wanted = by_hand([2, 4, 5, 3]).mean(axis=0)
    np.testing.assert_allclose(vectors[0], wanted / np.linalg.norm(wanted), atol=2e-5)
    np.testing.assert_array_equal(vectors[0], vectors[4])
    alone = SentenceTransformers(str(home)).encode(["mug"])[0]
    np.testing.assert_allclose(vectors[2], alone[0], atol=1e-6)


@pytest.mark.parametrize(("mode", "pooled"), [("pooling_mode_cls_token", lambda x: x[0]), ("pooling_mode_max_tokens", lambda x: x.max(axis=0))])
def test_other_pooling(home: Path, mode: str, pooled: Any) -> None:
    write(home / "1_Pooling" / "config.json", {mode: True})
    wanted = pooled(by_hand([2, 4, 5, 3]))
    np.testing.assert_allclose(SentenceTransformers(str(home)).encode(["red shoes"])[0][0], wanted / np.linalg.norm(wanted), atol=2e-5)


def test_a_prompt_stands_before_every_text(home: Path) -> None:
    plain, prompted = SentenceTransformers(str(home)), SentenceTransformers(str(home), prompt="running ")
    np.testing.assert_array_equal(prompted.encode(["red shoes"])[0], plain.encode(["running red shoes"])[0])
    assert stamp(plain) != stamp(prompted)


def test_long_texts_are_cut(home: Path) -> None:
    assert SentenceTransformers(str(home)).encode(["red " * 5000])[1].all()


def test_it_is_chosen_by_configuration_and_cached_by_its_weights(home: Path, tmp_path: Path) -> None:
    one = encoder("sentence-transformers", directory=str(home))
    cache.encode(one, ["red shoes"], tmp_path / "vectors")
    save_file(tensors(seed=1), home / "model.safetensors")
    other = SentenceTransformers(str(home))
    cache.encode(other, ["red shoes"], tmp_path / "vectors")
    assert len(list((tmp_path / "vectors").glob("*.sqlite3"))) == 2


def test_a_project_names_it_for_search(home: Path, tmp_path: Path) -> None:
    settings = f'[serving]\ntext_encoder = "sentence-transformers"\nencoders = {{ sentence-transformers = {{ directory = "{home}" }} }}\n'
    (tmp_path / "daogou.toml").write_text(settings, "utf-8")
    project = load_project(tmp_path)
    with Store.open(project.store_url) as store:
        store.put_items([Item(item_id="a", title="red shoes"), Item(item_id="b", title="blue mug")])
        live = Live(project, project.load_scenario(), store, Metrics())
        live.engine.learn_meaning(photos=False)
        assert live.engine.meaning is not None and live.engine.meaning.known == 2
        assert live.engine.meaning.vector("red shoes") == pytest.approx(SentenceTransformers(str(home)).encode(["red shoes"])[0][0], abs=1e-6)


def test_onnx_is_run_where_it_is_the_weights(home: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `vision` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `vision` is not installed")
    table = tensors()["embeddings.word_embeddings.weight"]
    types = onnx.TensorProto
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "tiny",
        [onnx.helper.make_tensor_value_info(name, types.INT64, ["n", "t"]) for name in ("input_ids", "attention_mask")],
        [onnx.helper.make_tensor_value_info("last_hidden_state", types.FLOAT, ["n", "t", HIDDEN])],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    (home / "model.safetensors").unlink()
    (home / "onnx").mkdir()
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), str(home / "onnx" / "model.onnx"))
    wanted = table[[2, 4, 5, 3]].mean(axis=0)
    np.testing.assert_allclose(SentenceTransformers(str(home)).encode(["red shoes", "mug"])[0][0], wanted / np.linalg.norm(wanted), atol=1e-5)


def spoil(home: Path, how: str) -> None:
    match how:
        case "gone":
            shutil.rmtree(home)
        case "pickle":
            (home / "model.safetensors").rename(home / "pytorch_model.bin")
        case "no weights":
            (home / "model.safetensors").unlink()
        case "half the weights":
            (home / "model.safetensors").write_bytes((home / "model.safetensors").read_bytes()[:500])
        case "a tensor less":
            save_file({n: t for n, t in tensors().items() if "layer.1.output" not in n}, home / "model.safetensors")
        case "own code":
            write(home / "config.json", CONFIG | {"auto_map": {"AutoModel": "modeling.Model"}})
        case "other network":
            write(home / "config.json", CONFIG | {"model_type": "mpnet"})
        case "dense":
            write(home / "modules.json", [{"path": "", "type": "a.Transformer"}, {"path": "2_Dense", "type": "a.Dense"}])
        case "elsewhere":
            write(home / "modules.json", [{"path": "../other", "type": "a.Transformer"}])
        case "no tokens":
            (home / "tokenizer.json").unlink()
        case "no config":
            (home / "config.json").write_text("{", "utf-8")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("gone", "nothing is downloaded"),
        ("pickle", "can run code"),
        ("no weights", "model.safetensors"),
        ("half the weights", "not a network"),
        ("a tensor less", "encoder.layer.1.output"),
        ("own code", "brings its own code"),
        ("other network", "mpnet"),
        ("dense", "Dense"),
        ("elsewhere", "elsewhere"),
        ("no tokens", "tokenizer.json"),
        ("no config", "config.json"),
    ],
)
def test_what_cannot_be_used_is_named(home: Path, how: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    SentenceTransformers(str(home))  # the control: as it was made it can be used
    spoil(home, how)
    with pytest.raises(ConfigError, match=says) as raised:
        SentenceTransformers(str(home))
    assert str(home) in str(raised.value)


def test_settings_are_asked_for() -> None:
    with pytest.raises(DaogouError, match="sentence-transformers"):
        encoder("sentence-transformers")
    assert "sentence-transformers" in plugins.names("encoder")
