"""Vectors of a whole catalogue with photos: what the first run costs, and the second with ten changed goods.

    python -m benchmarks.encoding [--text use] [--images color] [--items N] [--json FILE]

Reads `data/fashion` (DAOGOU_DATA): 44,446 titles and photos of 60 × 80 pixels. Both runs go through the cache that training and serving share. Seconds are of
CPU, on one thread. In the second run a photo is read again only where the file system says that its file was written since; `files read by the second` counts
that and its encoding.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from daogou.contract import Encoder
from daogou.encode import cache, encoder
from daogou.encode.photos import Gallery, Shelf
from daogou.testing.data import dataset_path

CHANGED = 10


class Watched(Gallery):
    """A folder of photos that counts how many were opened."""

    n_read = 0

    def read(self, name: str) -> bytes:
        self.n_read += 1
        return super().read(name)


def spent(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the CPU seconds of this process."""
    began_s = time.process_time()
    result = work()
    return result, time.process_time() - began_s


def shelf(folder: Path, photos: Sequence[bytes | None]) -> list[str]:
    """The photos as files of a shop; their names."""
    names = [f"{n}.jpg" if photo else "" for n, photo in enumerate(photos)]
    for name, photo in zip(names, photos, strict=True):
        if photo:
            (folder / name).write_bytes(photo)
    return names


def run(
    one: Encoder, things: Callable[[], Sequence[Any]], change: Callable[[], None], vectors: Path, told: list[str], n_read: Callable[[], int] | None = None
) -> dict[str, Any]:
    """The first run, a change of ten goods, the second run."""
    (_, mask), first_s = spent(lambda: cache.encode(one, things(), vectors, lambda step, done, total: told.append(step)))
    change()
    steps, before = len(told), n_read() if n_read else 0
    (_, again), second_s = spent(lambda: cache.encode(one, things(), vectors, lambda step, done, total: told.append(step)))
    assert int(again.sum()) == int(mask.sum()), "a changed good has a vector, too"
    opened = {"files read by the second": n_read() - before} if n_read else {}
    return {
        "goods": len(mask), "with a vector": int(mask.sum()), "first run, CPU s": round(first_s, 2), "per second": round(len(mask) / first_s),
        f"second run with {CHANGED} changed, CPU s": round(second_s, 2), "progress told": [steps, len(told) - steps], **opened,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="use", help="encoder of titles")
    parser.add_argument("--images", default="color", help="encoders of photos, comma-separated; empty = none")
    parser.add_argument("--items", type=int, help="only so many goods")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    table = pl.read_parquet(dataset_path("fashion") / "fashion_products_with_images.parquet", columns=["productDisplayName", "image"], n_rows=asked.items)
    titles = table["productDisplayName"].fill_null("").to_list()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary, threadpool_limits(limits=1):
        home = Path(temporary)
        (home / "photos").mkdir()
        names = shelf(home / "photos", table["image"].to_list())
        there = [n for n, name in enumerate(names) if name][:CHANGED]

        def retitled() -> None:
            titles[:CHANGED] = [f"{title}, new" for title in titles[:CHANGED]]

        def rephotographed() -> None:
            swapped = [(home / "photos" / names[n]).read_bytes() + bytes(n + 1) for n in there]  # behind its end a JPEG may have anything
            for n, photo in zip(there, swapped, strict=True):
                (home / "photos" / names[n]).write_bytes(photo)

        found[asked.text] = run(encoder(asked.text), lambda: titles, retitled, home / "vectors", [])
        gallery = Watched(home / "photos")
        for name in filter(None, asked.images.split(",")):
            found[name] = run(encoder(name), lambda: Shelf(gallery, names), rephotographed, home / "vectors", [], lambda: gallery.n_read)
    text = json.dumps(found, indent=1)
    print(text)
    if asked.json:
        asked.json.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
