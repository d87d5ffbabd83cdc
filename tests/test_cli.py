"""The command line on a shop of a few hundred events: every command once, and what it says when it is put wrongly."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from daogou.cli import app, bars, main
from daogou.errors import UsageError

DAY_S = 86_400
START_S = 1_700_000_000
run = CliRunner()


def ask(*words: str) -> str:
    """Runs a command that must succeed; its stdout."""
    result = run.invoke(app, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of shoppers, each buying among the goods of their own kind for forty days."""
    directory = tmp_path_factory.mktemp("cli") / "shop"
    ask("init", str(directory), "--scenario", "shop")
    rng = np.random.default_rng(3)
    rows = ["uid,item_id,event,time"]
    for day in range(40):
        for user in range(30):
            for item in rng.choice(8, 2, replace=False):
                rows.append(f"u{user},i{8 * (user % 2) + item},purchase,{START_S + day * DAY_S + user}")
    (directory / "events.csv").write_text("\n".join([*rows, "u1,,purchase,1700000000"]) + "\n", "utf-8")
    (directory / "items.csv").write_text("item_id,title,brand,price\n" + "".join(f"i{n},茶 tea {n},b{n % 3},{n}.5\n" for n in range(18)), "utf-8")
    (directory / "users.csv").write_text("user_id,age\n" + "".join(f"u{n},{'20s' if n % 2 else '50s'}\n" for n in range(30)), "utf-8")
    files = [word for table in ("events", "items", "users") for word in (f"--{table}", str(directory / f"{table}.csv"))]
    report = json.loads(ask("import", *files, "--column", "events.uid=user_id", "--project", str(directory), "--json"))
    assert report
    ask("train", "--project", str(directory))
    return directory


def test_a_bad_row_is_kept_aside_with_its_line(shop: Path) -> None:
    kept = "".join(path.read_text("utf-8") for path in (shop / "quarantine").glob("*"))
    assert '"line":2402' in kept.replace(" ", "")
    assert "item_id" in kept


def test_doctor_counts_what_is_there(shop: Path) -> None:
    said = ask("doctor", "--project", str(shop))
    assert "2,400" in said
    json.loads(ask("doctor", "--project", str(shop), "--json"))


def test_recommendations_are_of_the_shoppers_own_kind_and_explained(shop: Path) -> None:
    answer = json.loads(ask("recommend", "--user", "u2", "--explain", "-k", "5", "--project", str(shop), "--json"))
    assert {int(shown["item_id"][1:]) < 8 for shown in answer["items"]} == {True}
    assert all(shown["reason"] for shown in answer["items"])
    assert any(shown["explanation"] for shown in answer["items"])
    assert "release" in ask("recommend", "--locale", "zh", "--project", str(shop))


def test_filters_and_similar_items(shop: Path) -> None:
    answer = json.loads(ask("recommend", "--user", "u2", "--filter", 'price <= 3 and not brand = "b0"', "--project", str(shop), "--json"))
    assert {shown["item_id"] for shown in answer["items"]} == {"i1", "i2"}
    similar = json.loads(ask("similar", "i3", "-k", "3", "--project", str(shop), "--json"))
    assert len(similar["items"]) == 3
    assert "i3" not in [shown["item_id"] for shown in similar["items"]]


def test_evaluation_prints_the_promised_shape_and_writes_a_page(shop: Path, tmp_path: Path) -> None:
    words = ["--protocol", "time,leave-one-out", "--models", "popular,covisit,blend", "--report", str(tmp_path), "--project", str(shop)]
    found = json.loads(ask("evaluate", *words, "--json"))
    assert found["protocol"] == "time"
    assert set(found["models"]) == {"popular", "covisit", "blend", "recent", "ease"}
    for row in found["models"].values():
        for metric in ("ndcg@10", "recall@10", "precision@10", "f1@10", "hr@10", "mrr@10", "map@10", "coverage@10", "fit_s", "eval_s", "users"):
            assert metric in row
        low, high = row["ci95"]["ndcg@10"]
        assert low <= row["ndcg@10"] <= high
    assert found["beside"]
    assert "age" in found["fairness"]["groups"]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_keys_and_releases(shop: Path) -> None:
    key = json.loads(ask("keys", "create", "--kind", "server", "--project", str(shop), "--json"))
    assert key["id"] in ask("keys", "list", "--project", str(shop))
    ask("keys", "revoke", key["id"], "--project", str(shop))
    assert key["id"] not in ask("keys", "list", "--project", str(shop))
    first = next(m["id"] for m in json.loads(ask("releases", "list", "--project", str(shop), "--json")) if m["live"])
    second = json.loads(ask("train", "--models", "popular", "--no-publish", "--project", str(shop), "--json"))["release"]
    ask("releases", "publish", second, "--project", str(shop))
    assert f"* {second}" in ask("releases", "list", "--project", str(shop))
    assert first in ask("releases", "rollback", "--project", str(shop))


def test_export_erase_and_backup(shop: Path, tmp_path: Path) -> None:
    ask("export", "u5", "--to", str(tmp_path / "u5.json"), "--project", str(shop))
    assert json.loads((tmp_path / "u5.json").read_text("utf-8"))
    assert "i8" in (tmp_path / "u5.json").read_text("utf-8")
    ask("backup", str(tmp_path / "copy.sqlite3"), "--project", str(shop))
    receipt = json.loads(ask("erase", "u5", "--project", str(shop), "--json"))
    assert "u5" not in receipt.values()
    ask("export", "u5", "--to", str(tmp_path / "again.json"), "--project", str(shop))
    assert "i8" not in (tmp_path / "again.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["recommend", "--placement", "home.for_yo"], "did you mean 'home.for_you'"),
        (["recommend", "--filter", "prise < 3"], "price"),
        (["train", "--models", "easy"], "ease"),
        (["evaluate", "--protocol", "tim"], "time"),
        (["import", "--events", "x.csv", "--column", "uid"], "TABLE.COLUMN_IN_FILE=COLUMN"),
    ],
)
def test_wrong_usage_names_the_remedy(shop: Path, words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ask(*words, "--project", str(shop))


def test_exit_codes(tmp_path: Path) -> None:
    def code(*words: str) -> int:
        done = subprocess.run([sys.executable, "-m", "daogou", *words], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode

    assert code("--version") == 0
    assert code("doctor") == 1  # no project here
    assert code("serve", "--port", "no") == 2
    assert code("init", "p", "--scenario", "shopp") == 2


def test_tables_in_a_file_are_whole(shop: Path) -> None:
    said = ask("evaluate", "--models", "popular,covisit", "--project", str(shop))
    assert "…" not in said
    assert "coverage@10" in said


def test_cold_figures_stand_beside_warm_ones(shop: Path) -> None:
    said = ask("evaluate", "--protocol", "cold-users", "--models", "popular,covisit", "--project", str(shop))
    assert "under cold-users and under" in said
    both = ask("evaluate", "--protocol", "cold-users,leave-one-out", "--models", "popular,covisit", "--project", str(shop))
    assert "under cold-users and under leave-one-out" in both


# ---- long commands
def test_the_epochs_of_a_network_share_one_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with bars() as report:
        for epoch in (1, 2):
            for n in (1, 2, 3):
                report(f"sasrec epoch {epoch}/2 loss {5 - epoch / n:.3f}", n, 3)
            report(f"sasrec epoch {epoch}/2 validation 0.1", 3, 3)
        report("als", 1, 2)
        report("fit: sasrec", 0, 2)
    lines = [line.split("━")[0].strip() for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert [line.split(" 0/")[0].strip() for line in lines] == ["sasrec epoch 2/2 validation 0.1", "als", "fit: sasrec"]


@pytest.mark.parametrize(("command", "kept"), [(["train"], "the live release stays"), (["tune", "popular"], "every finished trial is kept")])
def test_an_interrupted_command_says_what_is_left_of_it(shop: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], kept: str) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("daogou.train.fit.train", interrupted)
    monkeypatch.setattr("daogou.train.tune.tune", interrupted)
    result = run.invoke(app, [*command, "--project", str(shop)])
    assert result.exit_code == 130
    assert "interrupted: " in result.stderr and kept in result.stderr
    assert "the same command goes on from there" in result.stderr


def test_too_little_memory_is_an_error_and_no_traceback(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 80 GiB")

    monkeypatch.setattr("daogou.train.fit.train", greedy)
    monkeypatch.setattr(sys, "argv", ["daogou", "train", "--project", str(shop)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "error: out of memory (Unable to allocate 80 GiB); nothing was changed" in capsys.readouterr().err
