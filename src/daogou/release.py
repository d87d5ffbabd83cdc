"""A release as serving sees it: a directory that is verified and opened, never changed.

    releases/CURRENT               the id of the live release
    releases/<id>/manifest.json    what it is, what it was trained on, how good it was, sha256 of every other file
                  items.json       the vocabulary of items: item id ↔ code
                  blend.json       weight of each model by placement
                  newcomers.safetensors   questions for new people and what the answers say, where enough people are known
                  models/<name>/   what the model saved
                  rankers/<name>/  learned rankers, by the placement they were learned for

Nothing in it names a person. Writing, publishing and retiring are in `train.release`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from daogou import plugins
from daogou.contract import Recommender
from daogou.data.vocab import Vocabulary
from daogou.errors import DaogouError, ReleaseError
from daogou.profile.newcomers import FILE as NEWCOMERS
from daogou.profile.newcomers import Newcomers
from daogou.rank.ranker import Ranked

SCHEMA = 1
CURRENT = "CURRENT"
NOT_SERVED = "statistics.safetensors"
"""The sums of additive models: verified when someone is erased, not each time the server starts."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """How one model of a release came about."""

    kind: str
    "Name of the plugin."
    additive: bool = False
    "Whether a person can be subtracted from it exactly."
    fit_s: float = 0.0
    "Wall seconds of the fit that was released."
    peak_mib: float = 0.0
    "Highest resident memory of the process during that fit, MiB."


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a release."""

    schema: int = SCHEMA
    id: str = ""
    created: int = 0
    "µs UTC"
    scenario: str = ""
    seed: int = 0
    daogou: str = ""
    events: int = 0
    "Events it was trained on, weightless ones included: erasure compares it with the store."
    users: int = 0
    items: int = 0
    data_end: int = 0
    "Time of the newest event it was trained on, µs; 0 = none."
    vocabulary: str = ""
    "Digest of the item vocabulary."
    models: dict[str, Fitted] = {}
    rankers: dict[str, str] = {}
    "Placement → its ranker below rankers/; where it is missing, the blend ranks."
    metrics: dict[str, dict[str, Any]] = {}
    "Model or `blend` → metric → value on the honest test split (`low`/`high`: the 95 % interval of the gate's metric)."
    split: dict[str, Any] = {}
    digest: str = ""
    "sha256 over all files: equal for equal data, seed and closed-form models."
    files: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    "What went differently than asked: models left out, persons subtracted."


@dataclass(frozen=True)
class Release:
    """An opened release. `damaged` names models that should be there and could not be loaded, with the reason."""

    manifest: Manifest
    directory: Path
    items: Vocabulary
    models: Mapping[str, Recommender]
    blends: Mapping[str, Mapping[str, float]]
    damaged: Mapping[str, str] = field(default_factory=dict)
    rankers: Mapping[str, Ranked] = field(default_factory=dict)
    "By placement."
    newcomers: Newcomers | None = None

    @property
    def id(self) -> str:
        return self.manifest.id


def current_id(releases: Path) -> str | None:
    """The id that CURRENT names; None where nothing was published."""
    try:
        name = (releases / CURRENT).read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as e:
        raise ReleaseError(f"cannot read it ({e})", fix="daogou releases publish ID", where=str(releases / CURRENT)) from e
    return checked_id(name, releases / CURRENT)


def checked_id(name: str, where: Path) -> str:
    """`name` if it can be the name of a release (no path, no hidden file)."""
    if not _ID.fullmatch(name):
        raise ReleaseError(f"{name[:40]!r} is no id of a release", fix="daogou releases list shows them", where=str(where))
    return name


def open_current(releases: Path, *, strict: bool = False) -> Release | None:
    """The live release, None where nothing was published yet. By default damaged models are left out rather than the release refused."""
    name = current_id(releases)
    return None if name is None else open_release(releases / name, strict=strict)


def open_release(directory: Path, *, strict: bool = True) -> Release:
    """Verifies and opens the release in `directory`.

    Args:
        strict: refuse the release if a model is damaged; else damaged models are left out, and `Release.damaged` says why.

    Raises:
        ReleaseError: missing, of another schema, or damaged (with `strict` in any model, else in what all models need).
    """
    manifest = read_manifest(directory)
    for file in ("items.json", "blend.json"):
        verify(directory, manifest, file)
    items = _decode(directory / "items.json", list[str])
    blends = _decode(directory / "blend.json", dict[str, dict[str, float]])
    models: dict[str, Recommender] = {}
    damaged: dict[str, str] = {}
    for model, fitted in manifest.models.items():
        try:
            models[model] = _load(directory, manifest, model, fitted.kind)
        except DaogouError as e:
            if strict:
                raise
            damaged[model] = str(e)
    rankers = {} if not manifest.rankers else _rankers(directory, manifest, models, damaged, strict)
    return Release(manifest, directory, Vocabulary(items), models, blends, damaged, rankers, _newcomers(directory, manifest, damaged, strict))


def _newcomers(directory: Path, manifest: Manifest, damaged: dict[str, str], strict: bool) -> Newcomers | None:
    if NEWCOMERS not in manifest.files:
        return None
    try:
        verify(directory, manifest, NEWCOMERS)
        return Newcomers.load(directory)
    except DaogouError as e:
        if strict:
            raise
        damaged[NEWCOMERS] = str(e)
        return None


def _rankers(directory: Path, manifest: Manifest, models: Mapping[str, Recommender], damaged: dict[str, str], strict: bool) -> dict[str, Ranked]:
    """The ranker of each placement; without one the blend ranks, and `damaged` has the reason under ``rankers/<name>``."""
    found: dict[str, Ranked] = {}
    for name in dict.fromkeys(manifest.rankers.values()):
        home = f"rankers/{name}"
        try:
            for file in manifest.files:
                if file.startswith(f"{home}/"):
                    verify(directory, manifest, file)
            found[name] = Ranked.load(directory / home, models)
        except DaogouError as e:
            if strict:
                raise
            damaged[home] = str(e)
    return {place: found[name] for place, name in manifest.rankers.items() if name in found}


def _load(directory: Path, manifest: Manifest, model: str, kind: str) -> Recommender:
    for file in manifest.files:
        if file.startswith(f"models/{model}/") and not file.endswith(NOT_SERVED):
            verify(directory, manifest, file)
    loaded: Recommender = plugins.load("model", kind).load(directory / "models" / model)
    return loaded


def read_manifest(directory: Path) -> Manifest:
    """The manifest alone, without opening or verifying what it describes."""
    manifest: Manifest = _decode(directory / "manifest.json", Manifest)
    if manifest.schema != SCHEMA:
        raise ReleaseError(f"a release of schema {manifest.schema}", expected=f"schema {SCHEMA}", fix="daogou train", where=str(directory))
    for name in (*manifest.files, *manifest.models, *manifest.rankers.values()):
        if name.startswith("/") or ".." in Path(name).parts or "\0" in name:
            raise ReleaseError(f"a file outside the release: {name[:80]!r}", fix="daogou train", where=str(directory / "manifest.json"))
    return manifest


def list_releases(releases: Path) -> list[Manifest]:
    """All readable releases, oldest first."""
    found = []
    for directory in sorted(releases.iterdir()) if releases.exists() else []:
        if directory.is_dir() and _ID.fullmatch(directory.name):
            try:
                found.append(read_manifest(directory))
            except ReleaseError:
                continue  # shown nowhere, served nowhere; the next training makes a whole one
    return sorted(found, key=lambda manifest: (manifest.created, manifest.id))


def verify(directory: Path, manifest: Manifest, file: str) -> None:
    """Compares one file with its sha256 in the manifest.

    Raises:
        ReleaseError: missing or changed.
    """
    try:
        found = sha256(directory / file)
    except OSError as e:
        raise ReleaseError(f"cannot read it ({e.strerror})", fix="daogou releases rollback", where=str(directory / file)) from e
    expected = manifest.files.get(file, "no such file")
    if found != expected:
        raise ReleaseError(f"sha256 {found[:12]}…", expected=f"{expected[:12]}…", fix="daogou releases rollback", where=str(directory / file))


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _decode(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as e:
        raise ReleaseError(f"cannot read it ({e})", fix="daogou releases rollback", where=str(path)) from e
