"""Questions to the engine, asked as the pages ask them: every answer is counted and noted as shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from daogou.data.rows import Item
from daogou.engine import Answer, Answered, Request
from daogou.guide.search import Facet, Search, facets, search
from daogou.guide.values import Values
from daogou.serve.web import roles
from daogou.serve.web.fields import text_of
from daogou.serve.web.page import Page, Shelf

SEARCH = "search"
MOST_CAUSES = 5
LEAST_SHARE = 0.005
"Of the evidence: a smaller cause would read 0 %."


@dataclass(frozen=True, slots=True)
class Cause:
    """One line of evidence: an item of the history, its share of what speaks for the recommendation, and how that was found."""

    item: Item
    share: float
    how: str


def shelf(page: Page, name: str, *, items: Sequence[str] = (), filter: str = "", exclude: Iterable[str] = (), k: int | None = None) -> Shelf:
    """One placement, answered."""
    place = page.services.scenario.placement(name)
    about = tuple(items) if place.about == "items" else ()
    answer = page.services.live.engine.recommend(
        Request(
            placement=name,
            user_id=page.visit.person,
            session_id=page.visit.session,
            items=list(about),
            filter=filter,
            exclude=list(exclude),
            k=k,
            locale=page.speech.locale,
        )
    )
    answer = _named(answer)
    noted(page, answer, name)
    return Shelf(place, answer, about)


def _named(answer: Answer) -> Answer:
    """Without the items that have no title, unless none has: a number means nothing to a shopper. They leave before the answer is noted as shown."""
    named = [one for one in answer.items if one.item is not None and text_of(one.item.title)]
    return replace(answer, items=named) if named else answer


def shelves(page: Page, where: str, *, items: Sequence[str] = (), exclude: Iterable[str] = ()) -> list[Shelf]:
    """Every placement of one page, in order; an item stands in one of them only, and empty ones are left out."""
    out, taken = [], list(exclude)
    for name in roles.placements(page.services.scenario, where):
        row = shelf(page, name, items=items, exclude=taken)
        if row.answer.items:
            out.append(row)
            taken += [one.item_id for one in row.answer.items]
    return out


@dataclass(frozen=True, slots=True)
class Found:
    """What a search finds, and what there is of it."""

    answer: Answer
    total: int
    "Goods that match; the answer may go on with similar ones."
    facets: list[Facet]
    corrected: str | None = None
    "The words as they were searched for, where one was misspelt."


def found(page: Page, values: Values, words: str, filter: str, k: int) -> Found:
    """What a search finds; without words, what this person would be shown under the same filter."""
    engine, chinese = page.services.live.engine, page.speech.locale == "zh"
    if not words:
        answer = shelf(page, roles.placements(page.services.scenario, "home")[0], filter=filter, k=k).answer
        match_I = engine.matching([filter])
        return Found(answer, int(match_I.sum()), facets(engine, values, match_I, True, chinese=chinese))
    results = search(engine, values, Search(text=words, filter=filter, user_id=page.visit.person, locale=page.speech.locale, k=k))
    answer = Answer(request_id=results.request_id, release=results.release, degraded=results.degraded, items=results.items)
    if "text" in results.relaxed:  # nothing has the words: the page says so, and what it shows instead is chosen for the person
        return Found(replace(answer, items=[]), 0, [])
    noted(page, answer, SEARCH)
    return Found(answer, results.total, results.facets, results.corrected)


def noted(page: Page, answer: Answer, place: str) -> None:
    """Counts an answer and notes it as shown, as the API does."""
    metrics = page.services.metrics
    metrics.answers.labels(place).inc()
    if answer.degraded:
        metrics.degraded.labels(place).inc()
    if page.services.project.serving.log_shown:
        page.services.shown.add(answer, page.visit.person, page.visit.session, place)


def why(page: Page, name: str, item_id: str, items: Sequence[str]) -> tuple[Answered | None, list[Cause]]:
    """The placement asked again for this one item, with its evidence. (None, []) where it would not be shown any more."""
    place = page.services.scenario.placement(name)
    only = "item_id = " + quoted(item_id)
    about = list(items) if place.about == "items" else []
    question = Request(
        placement=name, user_id=page.visit.person, session_id=page.visit.session, items=about, filter=only, k=1, explain=True, locale=page.speech.locale
    )
    answer = page.services.live.engine.recommend(question)
    if not answer.items:
        return None, []
    one = answer.items[0]
    strongest = [cause for cause in one.explanation or [] if cause.weight > 0][:MOST_CAUSES]
    total = sum(cause.weight for cause in strongest)
    strongest = [cause for cause in strongest if cause.weight / total >= LEAST_SHARE]
    rows = {item.item_id: item for item in page.services.store.items([cause.item_id for cause in strongest])}
    return one, [Cause(rows.get(c.item_id) or Item(item_id=c.item_id), c.weight / total, c.how) for c in strongest]


def quoted(text: str) -> str:
    """A text of the filter language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
