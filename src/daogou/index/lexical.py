"""Search by words: tantivy over titles, categories and brands in any language, in memory.

Texts are cut into words here: Unicode NFKC, lower case, runs of Chinese, Japanese and Korean signs into pairs (and single signs), Latin words
also by their English stem. Queries are built from terms, never parsed: a shopper's words can address no field and break no syntax. A word that the
catalogue does not know is read as the known one next to it. The index is derived from the catalogue and changed with it.
"""

import math
import re
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tantivy

from daogou.contract import Codes, Mask
from daogou.index.postings import Postings
from daogou.index.spelling import Spelling

MAX_TERMS = 32
"""Words of a query that count; the rest is ignored."""
FEW = 2000
"""Allowed items up to which they are named to the index; of more, its best are looked through."""
MISSPELT = 0.8
"""Weight of a word that was read as another."""
ALIKE = 0.5
"""Weight of another name for the same thing."""

_CJK = r"\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_RUN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_IS_CJK = re.compile(f"[{_CJK}]")
_HEAP_BYTES = 30_000_000


def words(text: str, *, query: bool = False) -> list[str]:
    """The terms of a text. A run of CJK signs gives its pairs, in an index also its single signs; a query of one sign asks for that sign."""
    out: list[str] = []
    for run in _RUN.findall(unicodedata.normalize("NFKC", text).lower()):
        if not _IS_CJK.match(run):
            out.append(run)
            continue
        pairs = [run[n : n + 2] for n in range(len(run) - 1)]
        out += pairs if query and pairs else [*pairs, *run]
    return out


class Term(NamedTuple):
    """A word of a question as the index knows it: itself, or the known word that it stands for; `known` is False where there is none."""

    text: str
    weight: float
    known: bool


class Lexical:
    """An index over item codes. Every method may be called from any thread; a search sees the whole of a change or nothing of it."""

    def __init__(self, texts: Iterable[tuple[int, list[str]]] = ()) -> None:
        """
        Args:
            texts: item code and its texts.
        """
        schema = tantivy.SchemaBuilder()
        schema.add_integer_field("code", stored=True, indexed=True, fast=True)
        schema.add_text_field("words", stored=False, tokenizer_name="whitespace", index_option="freq")
        schema.add_text_field("stems", stored=False, tokenizer_name="whitespace", index_option="freq")
        self._schema = schema.build()
        self._index = tantivy.Index(self._schema)
        self._stem = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).filter(tantivy.Filter.stemmer("english")).build()
        self._lock = threading.Lock()
        self._spelling = Spelling()
        self._postings = Postings()
        self._writer = self._index.writer(_HEAP_BYTES, 1)
        for code, parts in texts:
            self._add(code, parts)
        self._shown()

    def put(self, texts: Iterable[tuple[int, list[str] | None]]) -> None:
        """Adds or replaces items; None takes one out."""
        with self._lock:
            for code, parts in texts:
                self._writer.delete_documents_by_term("code", code)
                self._postings.put(code, ())
                if parts:
                    self._add(code, parts)
            self._shown()

    def search(self, text: str, k: int, allowed_I: Mask | None = None, *, unfinished: bool = False, alike: Sequence[str] = ()) -> list[tuple[int, float]]:
        """Code and score of the best k items that match at least one word, best first; `allowed_I` counts before the choice.

        The score is BM25 as a share of what all words of the question weigh (their inverse document frequencies): near 1 where an item has every word,
        near 0 where it has only common ones, whatever the question's length.

        Args:
            unfinished: the last word is still being typed, so words that begin with it match too.
            alike: other names for what is asked for; they find, but weigh less.
        """
        if k < 1:
            return []
        searcher = self._index.searcher()
        terms = self._terms(searcher, text)
        query = self._query(terms, text, unfinished, alike)
        if query is None:
            return []
        whole, most = self._weight(searcher, terms), max(searcher.num_docs, 1)
        if allowed_I is not None and int(allowed_I.sum()) <= FEW:
            query = self._among(query, np.flatnonzero(allowed_I).tolist())
        for depth in (*(d for d in (k, 10 * k, 10_000) if d < most), most):
            hits = searcher.search(query, depth).hits
            code_N = np.array(self._codes(searcher, [at for _, at in hits]), np.int64)
            score_N = np.array([score for score, _ in hits], np.float64) / whole
            if allowed_I is not None:
                kept = np.flatnonzero(code_N < len(allowed_I))
                kept = kept[allowed_I[code_N[kept]]]
                code_N, score_N = code_N[kept], score_N[kept]
            if len(code_N) >= k or len(hits) < depth:
                break
        order = np.lexsort((code_N, -score_N))[:k]
        return list(zip(code_N[order].tolist(), score_N[order].tolist(), strict=True))

    def _among(self, query: tantivy.Query, codes: list[int]) -> tantivy.Query:
        """The same scores, for these items alone."""
        inside = tantivy.Query.const_score_query(tantivy.Query.term_set_query(self._schema, "code", codes), 0.0)
        return tantivy.Query.boolean_query([(tantivy.Occur.Must, query), (tantivy.Occur.Must, inside)])

    def corrected(self, text: str) -> str | None:
        """The text with its misspelt words as the catalogue spells them; None where there is nothing to correct."""
        searcher, out, end, changed = self._index.searcher(), "", 0, False
        folded = unicodedata.normalize("NFKC", text).lower()
        for match in _RUN.finditer(folded):
            term = self._term(searcher, match.group())
            out += folded[end : match.start()] + term.text
            changed |= term.text != match.group()
            end = match.end()
        return (out + folded[end:]).strip() if changed else None

    def _terms(self, searcher: tantivy.Searcher, text: str) -> list[Term]:
        return [self._term(searcher, term) for term in list(dict.fromkeys(words(text, query=True)))[:MAX_TERMS]]

    def _term(self, searcher: tantivy.Searcher, term: str) -> Term:
        if searcher.doc_freq("words", term) or (term.isascii() and any(searcher.doc_freq("stems", stem) for stem in self._stems([term]))):
            return Term(term, 1.0, True)
        with self._lock:
            near = self._spelling.nearest(term, lambda word: int(searcher.doc_freq("words", word)))
        return Term(term, 1.0, False) if near is None else Term(near, MISSPELT, True)

    def _weight(self, searcher: tantivy.Searcher, terms: Sequence[Term]) -> float:
        """Sum of the inverse document frequencies of all words and stems, unknown ones as the rarest (Robertson's, as the index has it)."""
        n, total = searcher.num_docs, 0.0
        for term in terms:
            times = [int(searcher.doc_freq("words", term.text)), *(int(searcher.doc_freq("stems", stem)) for stem in self._stems([term.text]))]
            total += sum(math.log(1 + (n - t + 0.5) / (t + 0.5)) for t in times)
        return max(total, 1e-6)

    def having(self, text: str) -> Codes:
        """Codes of the items that have every word of `text`, in any form of the English stem; in no order."""
        asked = self._forms(list(dict.fromkeys(words(text, query=True)))[:MAX_TERMS])
        with self._lock:
            return self._postings.having(asked)

    @staticmethod
    def _codes(searcher: tantivy.Searcher, at: list[tantivy.DocAddress]) -> list[int]:
        """Read from the column, not from the stored documents: 10,000 of those cost 50 ms."""
        codes: list[int] = np.array(searcher.fast_field_values("code", at), np.int64).tolist()
        return codes

    def _add(self, code: int, parts: list[str]) -> None:
        terms = words(" ".join(parts))
        self._spelling.add(terms)
        self._postings.put(code, self._forms(terms))
        self._writer.add_document(tantivy.Document(code=code, words=[" ".join(terms)], stems=[" ".join(self._stems(terms))]))

    def _shown(self) -> None:
        self._writer.commit()
        self._index.reload()

    def _stems(self, terms: list[str]) -> list[str]:
        """English stems of the Latin terms."""
        latin = " ".join(term for term in terms if term.isascii())
        return self._stem.analyze(latin) if latin else []

    def _forms(self, terms: list[str]) -> list[str]:
        """Each term as all its forms have it in common: the English stem of a Latin one, any other itself."""
        return [*self._stems(terms), *(term for term in terms if not term.isascii())]

    def _query(self, terms: Sequence[Term], text: str, unfinished: bool, alike: Sequence[str]) -> tantivy.Query | None:
        should: list[tuple[tantivy.Occur, tantivy.Query]] = []
        for term in terms:
            if term.known:
                should += self._either(term.text, term.weight)
        for other in dict.fromkeys(term for name in alike[:MAX_TERMS] for term in words(name, query=True)):
            if all(other != term.text for term in terms):
                should += self._either(other, ALIKE)
        if unfinished and terms and not text[-1:].isspace():
            begun = tantivy.Query.fuzzy_term_query(self._schema, "words", words(text, query=True)[-1], 0, True, True)
            should.append((tantivy.Occur.Should, tantivy.Query.boost_query(begun, 0.5)))
        return tantivy.Query.boolean_query(should) if should else None

    def _either(self, term: str, weight: float) -> list[tuple[tantivy.Occur, tantivy.Query]]:
        """A word as it is and by its stem."""
        fields = [("words", term), *(("stems", stem) for stem in (self._stems([term]) if term.isascii() else []))]
        return [(tantivy.Occur.Should, tantivy.Query.boost_query(tantivy.Query.term_query(self._schema, name, one), weight)) for name, one in fields]
