"""What the scenario says about the built-in pages: which placements each shows, which event each action records, and its own words.

    pages    home (a known shopper) · guest · item (one item) · cart (what was gathered) · after (what was taken)
    actions  view (looked at) · cart (gathered) · buy (took what was gathered) · like (one press)

A scenario without `cart` or `buy` has no cart, one without `like` no such button. A page that is not named shows every placement that fits it.
"""

from daogou.scenario import Scenario

PAGES = {"home": "shopper", "guest": "shopper", "item": "items", "cart": "items", "after": "shopper"}
"""Page → what its placements are about, for scenarios that do not name them."""


def placements(scenario: Scenario, page: str) -> tuple[str, ...]:
    """Names of the placements that a page shows, in order."""
    if page not in scenario.pages and page == "guest":
        return placements(scenario, "home")
    return scenario.pages.get(page) or tuple(place.name for place in scenario.placements if place.about == PAGES[page])


def has_cart(scenario: Scenario) -> bool:
    """Whether things are gathered before they are taken."""
    return "cart" in scenario.actions and "buy" in scenario.actions
