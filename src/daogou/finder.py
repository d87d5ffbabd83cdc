"""Finds goods of the live catalogue by words, by what words mean, by what a photo shows, and by their neighbours; one list is made of all.

What is not read yet (the meaning of 44,000 titles, their photos) is read in the background, and search goes on without it meanwhile.

Axes: I items of the catalogue.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from daogou.catalogue import Catalogue
from daogou.contract import Codes, Encoder, Mask, Progress, Scores
from daogou.data.rows import Item
from daogou.encode import check_kind, encoder, text_encoder
from daogou.index.hybrid import balance, fuse
from daogou.index.lexical import Lexical
from daogou.index.vectors import Meaning, Reading, Upkeep
from daogou.store import Store

SEARCHED = ("title", "category", "brand")
MEANT = ("title",)
"""Whose meaning is read. Category and brand are words; beside a title they only blur it."""
FUSED = 200
"""Items of each way of finding that are compared by all of them."""
NEAR = 0.3
"""Cosine that the nearest text must reach, else none is about what was asked: with the default encoder questions
in Chinese on English goods reach .33 to .7, questions that are about nothing here .13 to .31."""
TASTE, LIKE, PHOTO = 0.1, 1.0, 4.0
"""Weights beside words: taste only orders what they find alike (an order drawn at random with this weight costs known items .006 of MRR@10 at most, with .3
it costs .03 to .044); a photo says more than the words beside it, which have become constraints already."""

Taste = Callable[[Mask, int], list[int]]
"""Allowed items, at most so many, in the order of someone's taste."""


class Found(NamedTuple):
    """One item, and which way of finding speaks most for it: words, meaning, photo, like, taste or, where none does, newest."""

    code: int
    score: float
    source: str


class Sight(NamedTuple):
    """What was seen in a photo, and by which encoders: what others see is not comparable."""

    vector_D: Scores
    by: str


class Finder:
    """Indexes of a catalogue. Every method may be called from many threads.

    Args:
        text_encoder: reads titles; "" = search goes by words alone.
        image_encoders: look at photos, each with its weight; empty = photos are not looked at.
        photos: folder in which the photos lie that items name.
        vectors: directory of vectors by content hash; None = encode anew.
        settings: of encoders, by name.
        own: encoders that come with the release, by name, before those that are installed.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        store: Store,
        *,
        text_encoder: str = "",
        image_encoders: Mapping[str, float] = {},
        photos: Path | None = None,
        vectors: Path | None = None,
        settings: Mapping[str, Mapping[str, Any]] = {},
        own: Mapping[str, Encoder] = {},
    ) -> None:
        self._catalogue, self._store, self._vectors = catalogue, store, vectors
        self._photos, self._image_encoders, self._settings, self._own = photos, dict(image_encoders), settings, own
        self._lexical: Lexical | None = None
        self._lock = threading.Lock()
        self._texts = Upkeep(partial(self._read_texts, text_encoder), self._text) if text_encoder else None
        self._pictures = Upkeep(self._read_photos, self._photo) if image_encoders and photos is not None else None

    # ---- indexes
    @property
    def words(self) -> Lexical:
        """The index of words, built when first asked for."""
        with self._lock:
            if self._lexical is None:
                with self._catalogue.lock:
                    texts = list(self._catalogue.texts(SEARCHED))
                self._lexical = Lexical(texts)
            return self._lexical

    @property
    def meaning(self) -> Meaning | None:
        """Vectors of the goods' texts; None until they are read, which the first question begins."""
        return self._texts.begun() if self._texts is not None else None

    @property
    def looks(self) -> Meaning | None:
        """Vectors of the goods' photos; None until they are seen, which the first question begins, and where none are looked at."""
        if self._pictures is None or self._photos is None or not self._photos.is_dir():
            return None
        return self._pictures.begun()

    @property
    def sighted(self) -> bool:
        """Whether photos are, or will soon be, looked at: not where none of the goods has one."""
        if self._pictures is None or self._photos is None or not self._photos.is_dir() or self._pictures.failed:
            return False
        return self._pictures.meaning is None or self._pictures.meaning.known > 0

    def learn(self, *, photos: bool = True, progress: Progress | None = None) -> None:
        """Reads texts and photos now instead of in the background.

        Raises:
            DaogouError: an encoder cannot be had.
        """
        if self._texts is not None:
            self._texts.now(progress)
        if photos and self._pictures is not None and self.sighted:
            self._pictures.now(progress)

    def changed(self, item_ids: Sequence[str], items: Sequence[Item]) -> None:
        """These items are others now; those that `items` lacks are gone."""
        codes = [code for i in item_ids if (code := self._catalogue.items.code(i)) >= 0]
        with self._lock:
            if self._lexical is not None:
                now = {self._catalogue.items.code(item.item_id): self._catalogue.texts_of(item, SEARCHED) for item in items}
                self._lexical.put((code, now.get(code)) for code in codes)
        for upkeep in (self._texts, self._pictures):
            if upkeep is not None:
                upkeep.changed(codes)

    # ---- questions
    def find(
        self,
        text: str,
        allowed_I: Mask,
        k: int,
        *,
        photo: Sight | None = None,
        like: Sequence[int] = (),
        taste: Taste | None = None,
        alike: Sequence[str] = (),
        unfinished: bool = False,
        liberal: bool = False,
    ) -> list[Found]:
        """The best k allowed items for some words and a photo, by all ways of finding together. Without either: taste, else what is new.

        Args:
            photo: what `see` saw in one; of other encoders than those of now it says nothing.
            like: items whose neighbours in meaning are sought too.
            taste: the shopper's; None = nobody's.
            alike: other names for what the words ask for.
            unfinished: the last word is still being typed: words that begin with it match, and meaning waits.
            liberal: whether items far from the words count where nearer ones lack, because the filter has said already what is wanted.
        """
        asked, depth = text.strip(), max(k, FUSED)
        words = dict(self.words.search(text, depth, allowed_I, unfinished=unfinished, alike=alike)) if asked or alike else {}
        near = self._near(asked, allowed_I, depth, photo, like, unfinished=unfinished, liberal=liberal)
        codes_N = np.array(sorted({*words, *(code for _, _, found in near for code in found)}), np.int32)
        evidence: dict[str, Scores] = {}
        by_words, by_meaning = balance(max(words.values(), default=0.0))
        weights = {"words": by_words, "meaning": by_meaning, "like": LIKE, "photo": PHOTO, "taste": TASTE}
        if words:
            evidence["words"] = np.array([words.get(code, 0.0) for code in codes_N.tolist()], np.float32)
        for name, likeness, _ in near:
            evidence[name] = np.maximum(evidence.get(name, np.float32(-1.0)), likeness(codes_N))
        if taste is not None and len(codes_N):
            evidence["taste"] = self._tastes(taste, allowed_I, codes_N)
        out = [Found(*one) for one in fuse(codes_N, evidence, weights, k)]
        if len(out) < k and (liberal or not (asked or evidence)):
            left_I = allowed_I.copy()
            left_I[[one.code for one in out]] = False
            rest, source = (self._catalogue.newest(left_I, k - len(out)).tolist(), "newest") if taste is None else (taste(left_I, k - len(out)), "taste")
            out += [Found(code, 0.0, source) for code in rest]
        return out

    def _near(
        self, asked: str, allowed_I: Mask, depth: int, photo: Sight | None, like: Sequence[int], *, unfinished: bool, liberal: bool
    ) -> list[tuple[str, Callable[[Codes], Scores], list[int]]]:
        """Every way of finding by nearness that has something to say: its name, the likeness of any items, and the nearest ones."""
        out: list[tuple[str, Callable[[Codes], Scores], list[int]]] = []
        meaning, looks = None if unfinished else self.meaning, self.looks
        if meaning is not None:
            questions = [("meaning", meaning.vector(asked))] if asked else []
            for name, vector_D in [*questions, *(("like", meaning.of(code)) for code in like)]:
                if vector_D is not None:
                    found = meaning.search(vector_D, depth, allowed_I)
                    if liberal or (found and found[0][1] >= NEAR):
                        out.append((name, partial(meaning.likeness, vector_D), [code for code, _ in found]))
        if photo is not None and looks is not None and photo.by == looks.stamp:
            found = looks.search(photo.vector_D, depth, allowed_I)
            out.append(("photo", partial(looks.likeness, photo.vector_D), [code for code, _ in found]))
        return out

    @staticmethod
    def _tastes(taste: Taste, allowed_I: Mask, codes_N: Codes) -> Scores:
        """[N] from 1 for what suits best to near 0: places, for the scores of models say nothing beside words."""
        there_I = np.zeros_like(allowed_I)
        there_I[codes_N] = True
        place = {code: n for n, code in enumerate(taste(there_I, len(codes_N)))}
        return np.array([1.0 - place.get(code, len(codes_N)) / len(codes_N) for code in codes_N.tolist()], np.float32)

    def see(self, photo: bytes) -> Sight | None:
        """What a photo shows; None where photos are not looked at (yet). Nothing of it is kept.

        Raises:
            UsageError: it is no photo, too large or damaged.
        """
        from daogou.encode.photos import opened

        looks = self.looks
        vector_D = looks.vector(photo) if looks is not None and looks.known else None
        if looks is None or vector_D is None:
            opened(photo)  # says what is wrong with it
            return None
        return Sight(vector_D, looks.stamp)

    def mentioning(self, text: str) -> Mask:
        """[I] items whose words hold every word of this text."""
        out_I = np.zeros(len(self._catalogue), np.bool_)
        codes = self.words.having(text)
        out_I[codes[codes < len(out_I)]] = True
        return out_I

    # ---- reading
    def _read_texts(self, name: str, progress: Progress | None) -> Meaning:
        with self._catalogue.lock:
            texts = [(code, "; ".join(parts)) for code, parts in self._catalogue.texts(MEANT)]
            n_items = len(self._catalogue)
        codes, words = [code for code, _ in texts], [text for _, text in texts]
        return Meaning([(text_encoder(name, **self._settings.get(name, {})), 1.0)], codes, words, n_items, cached=self._vectors, progress=progress)

    def _text(self, code: int) -> str | None:
        """The text of one item that is read for its meaning."""
        found = self._store.items([self._catalogue.items.id(code)])
        return "; ".join(self._catalogue.texts_of(found[0], MEANT)) if found else None

    def _read_photos(self, progress: Progress | None) -> Meaning:
        assert self._photos is not None
        from daogou.encode.photos import Gallery, Shelf  # an optional part: only who looks at photos needs it

        with self._catalogue.lock:
            named = [(code, parts[0]) for code, parts in self._catalogue.texts(("image",)) if parts]
            n_items = len(self._catalogue)
        gallery = Gallery(self._photos)
        files = gallery.filed([name for _, name in named])
        there = [one for one, file in zip(named, files, strict=True) if file is not None]
        codes, shelf = [code for code, _ in there], Shelf(gallery, [name for _, name in there])
        return Meaning(self._eyes(), codes, shelf, n_items, cached=self._vectors, progress=progress)

    def _eyes(self) -> list[Reading]:
        return [
            (check_kind(self._own[name] if name in self._own else encoder(name, **self._settings.get(name, {})), "image", "image_encoders"), weight)
            for name, weight in self._image_encoders.items()
        ]

    def _photo(self, code: int) -> bytes | None:
        from daogou.encode.photos import Gallery

        found = self._store.items([self._catalogue.items.id(code)])
        name = found[0].image if found else None
        return Gallery(self._photos).read(name) or None if isinstance(name, str) and self._photos is not None else None
