"""Search with counts over 44,446 goods: CPU of the whole HTTP route beside that of the search alone, on one thread.

    python -m benchmarks.search_time [--queries 300] [--encoder use] [--json FILE]

Reads `data/fashion` (DAOGOU_DATA). Every question is asked once, so nothing comes out of a memory of questions:

- three things: generated sentences of gender, colour and kind in English and Chinese (those of benchmarks.guide), a few hundred goods match at most;
- one thing: a gender, a colour or a kind by its name alone, up to half of the catalogue matches;
- no words: a filter on the price alone.

`search alone` finds the ten best and reads their rows. `with facets` also counts all that matches by every attribute (guide.search). `HTTP` is
POST /v1/search with facets from the bytes of the request to the bytes of the answer: the application called in this process, every thread counted.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is read

import msgspec
import numpy as np
import polars as pl
from litestar import Litestar

from benchmarks.guide import COLORS, GENDERS, KINDS, VECTORS, asked_for, combinations, fashion_items
from daogou.guide.search import Search, search
from daogou.scenario import Project, Serving
from daogou.serve import logs
from daogou.serve.app import create_app
from daogou.store import Store
from daogou.testing.data import dataset_path

SCENARIO = Path(__file__).parents[1] / "examples" / "fashion" / "fashion.toml"
LIMIT_MS = 20.0
"""p99 of the route that must hold for each kind of question."""


def questions(n: int) -> dict[str, list[Search]]:
    """n questions of each kind, no two alike."""
    rng = random.Random(0)
    combos = combinations(fashion_items())
    three = [Search(text=text, locale=language) for language in ("en", "zh") for _, text, _ in asked_for(combos, n // 2, language, rng)]
    names = [name for pair in [*KINDS.items(), *COLORS.items(), *((en[1], zh[0]) for en, zh in GENDERS.values())] for name in pair]
    one = [Search(text=name, filter=f"price >= {rng.uniform(10, 40):.3f}") for name in rng.choices(names, k=n)]
    return {"three things": three, "one thing": one, "no words": [Search(filter=f"price < {rng.uniform(50, 990):.3f}") for _ in range(n)]}


@contextmanager
def application(encoder: str) -> Iterator[Litestar]:
    """A served shop without events, its texts not yet read."""
    with tempfile.TemporaryDirectory() as home:
        VECTORS.mkdir(exist_ok=True)
        (Path(home) / "vectors").symlink_to(VECTORS, target_is_directory=True)  # shared with benchmarks.guide
        project = Project(scenario=str(SCENARIO), directory=Path(home), serving=Serving(text_encoder=encoder, image_encoders={}))
        with Store.open(project.store_url) as store:
            store.bulk_items(
                fashion_items().drop("kind_").with_columns(year=pl.read_csv(dataset_path("fashion") / "styles_full.csv.gz")["year"].cast(pl.Float64))
            )
            yield create_app(project, open_access=True, store=store)


async def post(app: Litestar, body: bytes) -> bytes:
    """The answer to POST /v1/search, without a network and without a client's own work."""
    sent: list[Any] = []
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope: Any = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/v1/search", "raw_path": b"/v1/search",
        "root_path": "", "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "extensions": {}, "state": {},
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent)
    if sent[0]["status"] != 200:
        raise SystemExit(f"{sent[0]['status']}: {answer.decode()}")
    return answer


def spent_ms(work: Callable[[], Any]) -> float:
    """CPU of all threads of this process."""
    begun = time.process_time()
    work()
    return (time.process_time() - begun) * 1000


async def measured(app: Litestar, asked: dict[str, list[Search]]) -> dict[str, dict[str, list[float]]]:
    """Kind of question → what was measured → ms of CPU. The three ways take turns on different questions, for an answer may be remembered."""
    services = app.state["services"]
    engine, values = services.live.engine, services.guide.values(services.live.engine)
    out: dict[str, dict[str, list[float]]] = {}
    for kind, questions in asked.items():
        times = out.setdefault(kind, {"search alone": [], "with facets": [], "HTTP": []})
        for n, one in enumerate(questions):
            if n % 3 == 0:
                times["search alone"].append(spent_ms(lambda one=one: engine.search(one.text, one.filter, one.k)))
            elif n % 3 == 1:
                times["with facets"].append(spent_ms(lambda one=one: search(engine, values, one)))
            else:
                begun = time.process_time()
                await post(app, msgspec.json.encode(one))
                times["HTTP"].append((time.process_time() - begun) * 1000)
    return out


async def run(queries: int, encoder: str) -> dict[str, dict[str, dict[str, float]]]:
    """Kind of question → what was measured → its percentiles in ms."""
    with application(encoder) as app:
        async with app.lifespan():
            app.state["services"].live.engine.learn_meaning()
            await measured(app, questions(6))  # what is built when first asked for
            found = await measured(app, questions(3 * queries))
    found["all"] = {way: [ms for times in found.values() for ms in times[way]] for way in found["no words"]}
    return {kind: {way: _percentiles(ms) for way, ms in times.items()} for kind, times in found.items()}


def _percentiles(ms: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(ms, q)), 2) for q in (50, 99)} | {"questions": len(ms)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300, help="of each kind for each way")
    parser.add_argument("--encoder", default="use", help="Of texts; empty = words alone.")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logs.configure("warning")
    found = asyncio.run(run(args.queries, args.encoder))
    for kind, ways in found.items():
        print(f"{kind:<14}" + "   ".join(f"{way}: p50 {ms['p50']:5.1f}  p99 {ms['p99']:5.1f} ms" for way, ms in ways.items()))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), "utf-8")
    return 0 if all(ways["HTTP"]["p99"] <= LIMIT_MS for ways in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
