"""Writing, publishing and retiring releases. A reader sees the old release or the new one, whole, at every moment, also when the writer is killed.

Order: a hidden directory is filled, every file and directory is fsynced, the directory is renamed, its parent fsynced; publishing then writes the
id beside CURRENT, fsyncs it, and replaces CURRENT by it. Reading is in `daogou.release`.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from daogou import __version__
from daogou.contract import Recommender
from daogou.data.vocab import Vocabulary
from daogou.errors import ReleaseError
from daogou.profile.newcomers import Newcomers
from daogou.rank.ranker import Ranked
from daogou.release import CURRENT, Manifest, Release, checked_id, current_id, list_releases, open_current, open_release, read_manifest, sha256, verify

__all__ = ["Manifest", "Release", "current_id", "list_releases", "open_current", "open_release", "prune", "publish", "retire", "rollback", "write"]

_STAGING, _RETIRED = ".staging-", ".retired-"


def write(
    releases: Path,
    models: Mapping[str, Recommender],
    items: Vocabulary,
    blends: Mapping[str, Mapping[str, float]],
    about: Manifest,
    rankers: Mapping[str, Ranked] | None = None,
    newcomers: Newcomers | None = None,
) -> Manifest:
    """Writes a whole release and returns its manifest; it is not live before `publish`.

    Args:
        releases: the directory of all releases; made where it is missing.
        about: the manifest without id, digests and time of creation, which are filled in here.
        rankers: by the name under which `about.rankers` knows them.
    """
    releases.mkdir(parents=True, exist_ok=True)
    _sweep(releases)
    staging = releases / f"{_STAGING}{os.getpid()}-{time.time_ns()}"
    staging.mkdir()
    try:
        for name, model in models.items():
            model.save(staging / "models" / name)
        for name, ranked in (rankers or {}).items():
            ranked.save(staging / "rankers" / name)
        if newcomers is not None:
            newcomers.save(staging)
        items.save(staging / "items.json")
        (staging / "blend.json").write_bytes(msgspec.json.format(msgspec.json.encode(blends, order="sorted"), indent=1))
        manifest = _sealed(staging, about, items)
        (staging / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        _sync_tree(staging)
        staging.rename(releases / manifest.id)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _sync(releases)
    return manifest


def _sealed(staging: Path, about: Manifest, items: Vocabulary) -> Manifest:
    files = {str(path.relative_to(staging).as_posix()): sha256(path) for path in sorted(staging.rglob("*")) if path.is_file()}
    digest = hashlib.sha256("\n".join(f"{name} {value}" for name, value in files.items()).encode()).hexdigest()
    created = time.time_ns() // 1000
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(created / 1e6))
    name = f"{stamp}.{created % 1_000_000:06d}-{digest[:8]}"
    return msgspec.structs.replace(about, id=name, created=created, daogou=__version__, vocabulary=items.digest(), digest=digest, files=files)


def publish(releases: Path, release_id: str) -> None:
    """Makes a release the live one, by one atomic rename.

    Raises:
        ReleaseError: it is missing or damaged; CURRENT stays as it was.
    """
    directory = releases / checked_id(release_id, releases)
    manifest = read_manifest(directory)
    for file in manifest.files:
        verify(directory, manifest, file)
    beside = releases / f".{CURRENT}-{os.getpid()}"
    beside.write_text(release_id + "\n", "utf-8")
    _sync(beside)
    beside.replace(releases / CURRENT)
    _sync(releases)


def rollback(releases: Path, to: str | None = None) -> str:
    """Makes an earlier release live again (`to`, or the newest one older than the live one) and returns its id.

    Raises:
        ReleaseError: there is none.
    """
    if to is None:
        live = current_id(releases)
        known = list_releases(releases)
        live_at = next((manifest.created for manifest in known if manifest.id == live), None)
        older = [manifest.id for manifest in known if live_at is None or manifest.created < live_at]
        if not older:
            raise ReleaseError("there is no earlier release", fix="daogou releases list shows them", where=str(releases))
        to = older[-1]
    publish(releases, to)
    return to


def prune(releases: Path, keep: int) -> list[str]:
    """Removes all but the newest `keep` releases; the live one always stays. Returns the ids of those removed."""
    live = current_id(releases)
    old = [manifest.id for manifest in list_releases(releases)][:-keep]
    return retire(releases, [name for name in old if name != live])


def retire(releases: Path, ids: Iterable[str]) -> list[str]:
    """Removes releases for good. The live one is refused."""
    live, gone = current_id(releases), []
    for name in ids:
        if name == live:
            raise ReleaseError(f"{name} is live", fix="publish another release first", where=str(releases))
        hidden = releases / f"{_RETIRED}{checked_id(name, releases)}"
        (releases / name).rename(hidden)  # out of sight at once: nobody opens half of it
        shutil.rmtree(hidden)
        gone.append(name)
    if gone:
        _sync(releases)
    return gone


def _sweep(releases: Path) -> None:
    """Removes what killed processes left behind."""
    for path in releases.glob(f"{_STAGING}*"):
        if not _alive(int(path.name.removeprefix(_STAGING).split("-")[0])):
            shutil.rmtree(path, ignore_errors=True)
    for path in releases.glob(f"{_RETIRED}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in releases.glob(f".{CURRENT}-*"):
        if not _alive(int(path.name.rsplit("-", 1)[1])):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_tree(top: Path) -> None:
    for directory, _, files in os.walk(top, topdown=False):
        for name in files:
            _sync(Path(directory) / name)
        _sync(Path(directory))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
