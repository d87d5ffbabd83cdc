"""A photo as the question: does it find goods of its kind? Own network, the general one, and colour alone, on photos that nothing was learned from.

    python -m benchmarks.photos [--option NAME=VALUE …] [--attributes NAME …] [--vectors DIR] [--only NAME …]

2,000 photos of the fashion catalogue are held out (seed 0); the network learns from all others, which are also what is searched. For each held-out photo:

    precision@10    share of the ten nearest photos, by cosine, that show the same article type
    hit@10          share of photos with the same article type among their ten nearest
    nearest         share of photos whose nearest one shows the same article type
    accuracy        share of photos whose article type the network itself names (own network only); types too rare to be learned count as wrong

Prints JSON, with 95 % intervals over the held-out photos. `--vectors` keeps vectors and network, so that a run can be broken off and gone on with.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import hyperparameters
from daogou.contract import Encoder, Mask, Progress, Run, Scores
from daogou.encode import cache, encoder
from daogou.encode.content_cnn import ContentCnn
from daogou.testing.data import dataset_path

HELD_OUT, NEAREST, BLOCK = 2000, 10, 500
TYPE = "articleType"
ATTRIBUTES = (TYPE, "subCategory", "masterCategory", "gender", "baseColour")
LEARNED = ATTRIBUTES[:3]  # what is asked for is the kind of article: a vector that also tells colours and genders apart has less room for it
SETTINGS = {"height": 64, "width": 48, "channels": 24, "epochs": 12, "small_epochs": 0, "balance": 0.0}
SEARCHED = {"own": {"content_cnn": 1.0}, "general and colour": {"efficientnet": 1.0, "color": 0.3}, "colour": {"color": 1.0}}


def catalogue() -> pl.DataFrame:
    wanted = ["image", *ATTRIBUTES]
    return pl.read_parquet(dataset_path("fashion") / "fashion_products_with_images.parquet", columns=wanted).filter(pl.col("image").is_not_null())


def precision(asked: Sequence[Scores], searched: Sequence[Scores], type_Q: np.ndarray, type_N: np.ndarray) -> dict[str, list[float]]:
    """Share of the nearest photos with the asked type, whether one of them and whether the nearest has it. Vectors come in weighted blocks."""
    asked_QD, searched_ND = (np.concatenate(parts, axis=1) for parts in (asked, searched))
    share, first = [], []
    for at in range(0, len(asked_QD), BLOCK):
        scores = asked_QD[at : at + BLOCK] @ searched_ND.T
        top = np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]
        best = np.take_along_axis(top, np.take_along_axis(scores, top, axis=1).argmax(axis=1)[:, None], axis=1)[:, 0]
        share.append((type_N[top] == type_Q[at : at + BLOCK, None]).mean(axis=1))
        first.append(type_N[best] == type_Q[at : at + BLOCK])
    share_Q = np.concatenate(share)
    return {"precision@10": interval(share_Q), "hit@10": interval(share_Q > 0), "nearest": interval(np.concatenate(first))}


def interval(values: "np.ndarray") -> list[float]:
    mean, half = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    return [round(x, 4) for x in (mean, mean - half, mean + half)]


def compare(only: Sequence[str], learned: Sequence[str], given: Mapping[str, Any], home: Path, progress: Progress) -> dict[str, Any]:
    table = catalogue()
    files, kind = table["image"].to_list(), table[TYPE].to_numpy().astype(str)
    held = np.random.default_rng(0).permutation(len(files))[:HELD_OUT]
    taught = np.setdiff1d(np.arange(len(files)), held)
    known = [files[n] for n in taught]
    labels = {name: table[name].gather(taught).to_list() for name in learned}
    settings = {**SETTINGS, **given, "attributes": tuple(learned)}
    own: dict[str, Encoder] = {}
    found: dict[str, Any] = {"photos": len(files), "held out": len(held), "types": len(set(kind)), "settings": settings}
    for title in only:
        started_s = time.process_time()
        if "content_cnn" in SEARCHED[title]:
            own["content_cnn"] = ContentCnn.learned(known, labels, settings, Run(vectors=home, checkpoint=home / "unfinished", progress=progress))
        asked: list[Scores] = []
        searched: list[Scores] = []
        for name, weight in SEARCHED[title].items():
            one = own.get(name) or encoder(name)
            for blocks, some in ((asked, [files[n] for n in held]), (searched, known)):
                blocks.append(np.float32(weight**0.5) * cache.encode(one, some, home / ("held" if some is not known else "known"), progress)[0])
        found[title] = precision(asked, searched, kind[held], kind[taught])
        if own and "content_cnn" in SEARCHED[title]:
            found[title] |= named(own["content_cnn"], [files[n] for n in held], table[held.tolist()])
        found[title]["cpu_s"] = round(time.process_time() - started_s, 1)
    return found


def named(network: Any, files: Sequence[bytes], table: pl.DataFrame) -> dict[str, Any]:
    """How often the network names an attribute of held-out photos right, where it is known."""
    vectors, _ = network.encode(files)
    out = {}
    for name, shares in network.named(vectors).items():
        value = table[name].to_numpy()
        told: Mask = np.array([v is not None for v in value])
        right = np.array(network.about.classes[name])[shares.argmax(axis=1)] == value.astype(str)
        out["accuracy" if name == TYPE else f"accuracy {name}"] = interval(right[told].astype(np.float32))
    return out | {"accuracy by epoch, mean of attributes": [round(x, 4) for x in network.about.figures]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE, a hyperparameter of the own network")
    parser.add_argument("--attributes", nargs="+", choices=ATTRIBUTES, default=LEARNED, help="what the own network learns from")
    parser.add_argument("--vectors", type=Path, help="directory of vectors and network; a temporary one if left out")
    parser.add_argument("--only", nargs="+", choices=tuple(SEARCHED), default=tuple(SEARCHED))
    asked = parser.parse_args()
    told_s = 0.0

    def progress(step: str, done: float, total: float | None) -> None:
        nonlocal told_s
        if "validation" in step or time.monotonic() - told_s > 60:
            told_s = time.monotonic()
            print(f"{time.process_time():7.0f} cpu s  {step}  {done:.0f}/{total or 0:.0f}", flush=True, file=sys.stderr)

    with tempfile.TemporaryDirectory() as temporary:
        print(
            json.dumps(
                compare(asked.only, asked.attributes, hyperparameters(asked.option), asked.vectors or Path(temporary), progress), indent=1, ensure_ascii=False
            )
        )


if __name__ == "__main__":
    main()
