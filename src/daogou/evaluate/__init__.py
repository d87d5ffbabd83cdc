"""How good is it, how sure are we, and for whom: full ranking, intervals over users, paired comparisons."""

from daogou.evaluate.evaluation import KS, Scorer, evaluate
from daogou.evaluate.lists import Catalogue
from daogou.evaluate.result import Interval, Paired, Result, over_seeds, paired

__all__ = ["KS", "Catalogue", "Interval", "Paired", "Result", "Scorer", "evaluate", "over_seeds", "paired"]
