"""Erasing a person: their rows, and what the models learned from them.

Order: what they contributed is read, their rows are erased, and then a new release is written and published in which nothing of them is left, and
every older release is removed. After a crash in between, the same call finishes the work: rows that a release was trained on and that are gone
from the store are noticed by their number, and its models are fitted anew.

    subtracted   an additive model: the person's share is taken out of its sums, exactly (equal to a fit that never saw them)
    removed      nobody is left to learn from
    refitted     rankers and any other model, or an additive one whose data changed otherwise since (backfilled events, withdrawn consent)
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import structlog
from msgspec.structs import replace

from daogou import plugins
from daogou.contract import Additive, Mask, Recommender
from daogou.data import quarantine
from daogou.data.dataset import Dataset
from daogou.data.vocab import Vocabulary
from daogou.encode import cache
from daogou.errors import ReleaseError
from daogou.release import Fitted, Manifest, current_id, list_releases, read_manifest, verify
from daogou.scenario import Project, Scenario
from daogou.store import Receipt as Rows
from daogou.store import Store
from daogou.train import release as releases
from daogou.train.fit import build, check, circumstances, discard_checkpoints, newcomers, rankers_without, snapshot

log = structlog.get_logger("daogou.train")

BLEND_NOTE = "blend weights and published figures are kept: they are a few numbers learned from everybody together"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did. It names the person by digest only."""

    user_id_sha256: str
    rows: Rows
    "What the store erased, and whether its files were read afterwards."
    quarantined: int
    "Rejected import rows that named the person."
    vectors: int
    "Cached vectors of the texts and photo of the item that is the person."
    models: dict[str, str]
    "Model or `rankers/NAME` → `subtracted`, `refitted` or `removed`; empty where no release held anything of them."
    release: str | None
    "The release that is live now."
    retired: tuple[str, ...]
    "Releases that were removed because they held something of the person."
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class _Learned:
    """What the live release was trained on, and the person's part of it."""

    manifest: Manifest
    data: Dataset
    theirs_E: Mask
    unchanged: bool
    "Whether the store still holds exactly the events that the release was trained on."
    profile: bool
    "Whether the person is also an item that others have events with."

    @property
    def nothing(self) -> bool:
        return self.unchanged and not self.theirs_E.any() and not self.profile


def erase(project: Project, store: Store, user_id: str) -> Receipt:
    """Removes a person from store, quarantine and models; may be repeated.

    Raises:
        StoreError: the rows could not be erased; nothing else was touched.
        ReleaseError: the new release does not answer; the rows are erased, and the call must be repeated.
    """
    started = time.perf_counter()
    scenario = project.load_scenario()
    profile = _profile(store, scenario, user_id)
    said = _said(project, store, profile)
    learned = _learned(project, store, scenario, user_id, profile)
    rows = store.erase_user(user_id, items=profile)
    rejected = quarantine.forget(project.quarantine, user_id)
    vectors = cache.forget(project.directory / "vectors", said) if said else 0
    discard_checkpoints(project)
    models: dict[str, str] = {}
    retired: list[str] = []
    if learned is not None and not learned.nothing:
        models, name = _without(project, store, scenario, learned)
        releases.publish(project.releases, name)
    live = current_id(project.releases)
    if models:
        retired = releases.retire(project.releases, [one.id for one in list_releases(project.releases) if one.id != live])
    return Receipt(
        user_id_sha256=hashlib.sha256(user_id.encode()).hexdigest(),
        rows=rows,
        quarantined=rejected,
        vectors=vectors,
        models=models,
        release=live,
        retired=tuple(retired),
        notes=(BLEND_NOTE,) if models else (),
        seconds=round(time.perf_counter() - started, 3),
    )


def _profile(store: Store, scenario: Scenario, user_id: str) -> list[str]:
    """The item that is this person, where the scenario says that people are items."""
    item = store.item(user_id) if scenario.people else None
    return [user_id] if item is not None and item.kind == scenario.people else []


def _said(project: Project, store: Store, profile: list[str]) -> list[str | bytes]:
    """The texts and photo of the item that is the person, as encoders read them."""
    said: list[str | bytes] = []
    for item in store.items(profile):
        row = msgspec.to_builtins(item)
        said += [str(value) for value in (*row.values(), *item.attributes.values()) if isinstance(value, str | int | float)]
        if isinstance(item.image, str) and (project.directory / "photos").is_dir():
            from daogou.encode.photos import Gallery  # an optional part

            said.append(Gallery(project.directory / "photos").read(item.image))
    return said


def _learned(project: Project, store: Store, scenario: Scenario, user_id: str, profile: list[str]) -> _Learned | None:
    try:
        name = current_id(project.releases)
        manifest = read_manifest(project.releases / name) if name else None
    except ReleaseError as e:
        log.warning("the live release cannot be read", found=str(e))
        return None  # nobody can be served from it; the next training replaces it
    if manifest is None or not manifest.models:
        return None
    data = snapshot(project, store, scenario, until=manifest.data_end + 1)
    same_items = Vocabulary(data.items.ids[: manifest.items]).digest() == manifest.vocabulary
    about = np.isin(data.events.item, data.items.codes(profile))
    return _Learned(
        manifest=manifest,
        data=data,
        theirs_E=data.events.user == data.users.code(user_id),
        unchanged=same_items and manifest.events == len(data.events),
        profile=bool(about.any()) or bool(profile),
    )


def _without(project: Project, store: Store, scenario: Scenario, learned: _Learned) -> tuple[dict[str, str], str]:
    """Writes the release without the person; what was done to each model, and the release's id."""
    old = learned.manifest
    directory = project.releases / old.id
    rest = snapshot(project, store, scenario, until=old.data_end + 1)
    run = circumstances(project, old.seed)
    models: dict[str, Recommender] = {}
    done: dict[str, str] = {}
    for name, fitted in old.models.items():
        if not len(rest.histories.item):
            done[name] = "removed"
        elif (model := _subtracted(directory, old, name, fitted, learned)) is not None:
            models[name], done[name] = model, "subtracted"
        else:
            models[name], done[name] = build(scenario, name).fit(rest, run), "refitted"
    rankers, places = rankers_without(scenario, rest, models, run) if old.rankers and models else ({}, {})
    done |= {f"rankers/{name}": "refitted" if name in rankers else "removed" for name in dict.fromkeys(old.rankers.values())}
    about = replace(
        old,
        events=len(rest.events),
        users=rest.n_users,
        items=rest.n_items,
        data_end=rest.end,
        models={name: old.models[name] for name in models},
        rankers=places,
        notes=(*old.notes, "one person was erased from it"),
    )
    blends = msgspec.json.decode((directory / "blend.json").read_bytes(), type=dict[str, dict[str, float]])
    written = releases.write(project.releases, models, rest.items, blends, about, rankers, newcomers(rest, scenario, old.seed))
    check(project.releases / written.id, scenario, store)
    return done, written.id


def _subtracted(directory: Path, old: Manifest, name: str, fitted: Fitted, learned: _Learned) -> Recommender | None:
    """The model without the person's events, None where it cannot be had by subtraction."""
    if not fitted.additive or not learned.unchanged or learned.profile:
        return None
    try:
        for file in old.files:
            if file.startswith(f"models/{name}/"):
                verify(directory, old, file)
        model: Recommender = plugins.load("model", fitted.kind).load(directory / "models" / name)
        return model.forget(learned.data.where(learned.theirs_E)) if isinstance(model, Additive) else None
    except Exception as e:  # whatever stands in the way of subtracting, fitting anew is also right
        log.warning("fitted anew instead of subtracted", model=name, error=type(e).__name__, found=str(e)[:200])
        return None
