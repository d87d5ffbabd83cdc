"""How good is it, how sure are we, and for whom: full ranking, intervals over users, paired comparisons, groups, exposure, a report."""

from daogou.evaluate.comparison import Beside, Comparison, beside, compare
from daogou.evaluate.evaluation import KS, Scorer, evaluate
from daogou.evaluate.fairness import Exposure, Groups, by_group, exposure_by, quality_by_group
from daogou.evaluate.leakage import leaks
from daogou.evaluate.lists import Catalogue
from daogou.evaluate.ratings import RatingError, given, rating_error
from daogou.evaluate.result import Interval, Paired, Result, over_seeds, paired

__all__ = [
    "KS",
    "Beside",
    "Catalogue",
    "Comparison",
    "Exposure",
    "Groups",
    "Interval",
    "Paired",
    "RatingError",
    "Result",
    "Scorer",
    "beside",
    "by_group",
    "compare",
    "evaluate",
    "exposure_by",
    "given",
    "leaks",
    "over_seeds",
    "paired",
    "quality_by_group",
    "rating_error",
]
