"""`daogou ask` and `doctor` in a project that names a language model."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from daogou.cli import app
from daogou.errors import ConfigError
from daogou.testing.chat_server import ChatServer, completion, reply


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer().running() as made:
        made.behaviour = lambda _: [(0.0, completion('{"text": "I would take {1}."}'))]
        yield made


def run(*words: str, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, list(words), input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def shop(tmp_path: Path, server: ChatServer) -> Path:
    run("init", str(tmp_path / "shop"))
    directory = tmp_path / "shop"
    (directory / "items.csv").write_text("item_id,title,brand,price\n" + "".join(f"i{n},tea {n},b{n % 3},{n}.5\n" for n in range(9)), "utf-8")
    run("import", "--items", str(directory / "items.csv"), "--project", str(directory))
    settings = f'\n[language_model]\nurl = "{server.url}"\nmodel = "small"\nbudget_s = 1.4\n'
    text = (directory / "daogou.toml").read_text("utf-8").replace("[serving]\n", '[serving]\ntext_encoder = ""\n')
    (directory / "daogou.toml").write_text(text + settings, "utf-8")
    return directory


def test_ask_speaks_with_it(shop: Path, server: ChatServer) -> None:
    said = json.loads(run("ask", "b1", "--locale", "en", "--json", "--project", str(shop)).stdout)
    row = said["items"][0]["item"]
    assert said["reply"].startswith(f"I would take “{row['title']}” ({row['price']:g})")


def test_ask_goes_on_without_it_and_says_so(shop: Path, server: ChatServer) -> None:
    server.behaviour = lambda _: [(0.0, reply(b"", status="500 Oops"))]
    result = run("ask", "--chat", "--locale", "en", "--project", str(shop), stdin="b1\nb2\n")
    assert result.stdout.count("products match") == 2
    assert "language model, phrase: status; the rules answer" in result.stderr


def test_doctor_names_it_and_finds_a_missing_key(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "'small' at http://127.0.0.1" in run("doctor", "--project", str(shop)).stderr
    with (shop / "daogou.toml").open("a", encoding="utf-8") as file:
        file.write('key_env = "NO_SUCH_KEY"\n')
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        run("doctor", "--project", str(shop))
