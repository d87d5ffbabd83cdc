"""A fashion shop with photos, from a folder of Parquet files to a running storefront: import, photos, training, server.

    python examples/fashion/run.py --data FOLDER [--items N | --all] [--project DIR] [--port 8642]

What README.md says of the folder's files holds. Every step is done once: a second start serves at once. No events are needed, and none are made up.
"""

import argparse
import base64
import random
import sys
from pathlib import Path
from typing import Any

import polars as pl
from litestar.testing import TestClient

from daogou.cli import bars
from daogou.contract import Progress
from daogou.encode.photos import Gallery
from daogou.engine import Engine
from daogou.errors import DaogouError, UsageError
from daogou.release import open_current
from daogou.scenario import Project, load_project
from daogou.serve import logs
from daogou.serve.app import create_app
from daogou.serve.run import serve
from daogou.store import Store
from daogou.train.erase import erase
from daogou.train.fit import train

HERE = Path(__file__).resolve().parent
SMALL, WHOLE, KINDS = "fashion_products_subset.parquet", "fashion_products_with_images.parquet", "styles_full.csv.gz"
COLUMNS = {"productDisplayName": "title", "baseColour": "color", "gender": "gender", "season": "season", "year": "year", "usage": "usage"}


def goods(data: Path, *, whole: bool, most: int | None) -> pl.DataFrame:
    """Rows of the catalogue, and the bytes of each photo in the column `photo`; a sample of `most` that is always the same.

    Raises:
        UsageError: the folder lacks a file.
    """
    path = data / (WHOLE if whole else SMALL)
    for wanted in (path, data / KINDS):
        if not wanted.is_file():
            raise UsageError(f"no file {wanted.name}", expected=f"{SMALL} or {WHOLE}, and {KINDS}", fix="see examples/fashion/README.md", where=str(data))
    frame = pl.read_parquet(path)
    if "articleType" not in frame.columns:  # the small file has none
        frame = frame.join(pl.read_csv(data / KINDS, columns=["id", "articleType"]), on="id", how="left")
    if most is not None and most < len(frame):
        frame = frame[sorted(random.Random(0).sample(range(len(frame)), most))]
    path_of_kinds = pl.concat_str(["masterCategory", "subCategory", "articleType"], separator=" > ", ignore_nulls=True)
    renamed = [pl.col(there).alias(here) for there, here in COLUMNS.items()]
    return frame.select(pl.col("id").cast(pl.String).alias("item_id"), path_of_kinds.alias("category"), *renamed, pl.col("image").alias("photo"))


def photographed(frame: pl.DataFrame, gallery: Gallery, progress: Progress) -> pl.DataFrame:
    """The photos put into the project's folder, and their names in the column `image`; what is no photo is left out."""
    names: list[str | None] = []
    for n, photo in enumerate(frame["photo"], 1):
        try:
            names.append(gallery.put(photo) if photo else None)
        except UsageError:
            names.append(None)
        progress("photos", n, len(frame))
    return frame.drop("photo").with_columns(pl.Series("image", names, pl.String))


def prepare(data: Path, directory: Path, progress: Progress, *, whole: bool = False, most: int | None = None) -> Project:
    """A project that is ready to be served; what is there already is left as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "daogou.toml").exists():
        (directory / "fashion.toml").write_text((HERE / "fashion.toml").read_text("utf-8"), "utf-8")
        (directory / "daogou.toml").write_text('scenario = "fashion.toml"\nstore = "sqlite:///store.sqlite3"\n', "utf-8")
    project = load_project(directory)
    scenario = project.load_scenario()
    with Store.open(project.store_url) as store:
        if not store.counts().items:
            store.bulk_items(photographed(goods(data, whole=whole, most=most), Gallery(directory / "photos"), progress))
        if open_current(project.releases) is None:
            print(train(project, store, scenario, progress=progress))
        # The server would do this in the background; done here, its first question is answered like every other.
        looking = Engine(
            None,
            scenario,
            store,
            text_encoder=project.serving.text_encoder,
            image_encoders=project.serving.image_encoders,
            photos=directory / "photos",
            vectors=directory / "vectors",
        )
        looking.learn_meaning(progress=progress)
    return project


def check(project: Project) -> None:
    """Asks in two languages and with one of the shop's own photos, prints the answers, and ends.

    Raises:
        DaogouError: an answer has no goods.
    """
    logs.configure("warning")
    with TestClient(create_app(project, open_access=True)) as client:
        live = client.app.state.services.live
        live.engine.learn_meaning()
        photo = next((project.directory / "photos").glob("*.jpg"))
        image = base64.b64encode(photo.read_bytes()).decode()
        for question in ({"text": "red shoes for women"}, {"text": "黑色的男士手表"}, {"image": image, "locale": "en"}):
            reply: dict[str, Any] = client.post("/v1/guide", json={**question, "k": 5}).json()
            print(f"\n{question.get('text', 'a photo')}: {reply.get('reply', reply)}  {[chip['label'] for chip in reply.get('understood', [])]}")
            if not reply.get("items"):
                raise DaogouError(f"the guide found nothing for {str(question)[:80]}", fix="delete the project's folder and begin again")
            for n, one in enumerate(reply["items"], 1):
                print(f"  {n}. {one['item_id']:<7} {(one['item'] or {}).get('title') or '':<56.56} {one['reason']}")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="the folder with the Parquet files")
    options.add_argument("--project", type=Path, default=Path("fashion-shop"), help="where the shop is made")
    options.add_argument("--port", type=int, default=8642)
    options.add_argument("--items", type=int, help="that many goods only")
    options.add_argument("--all", action="store_true", help="all 44,446 goods instead of 5,271")
    options.add_argument("--check", action="store_true", help="ask a few questions, print the answers, and end")
    args = options.parse_args()
    try:
        with bars() as progress:
            project = prepare(args.data, args.project, progress, whole=args.all, most=args.items)
        if args.check:
            check(project)
            return 0
    except DaogouError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\nstorefront  http://127.0.0.1:{args.port}/\nthe guide   http://127.0.0.1:{args.port}/guide\n(open access on loopback; Ctrl-C ends it)")
    serve(project, "127.0.0.1", args.port, open_access=True, erase=erase, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
