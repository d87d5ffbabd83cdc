"""People of whom nothing is known but their answers to a few questions: what everybody's answers say of everything else.

    score_i = m_i + Σ_q (x_q − a_q) β_qi          β = (RᵀR + λU)⁻¹ Rᵀ X, all centred

X [U, I] is who took what, R [U, Q] its columns of the options, x_q whether q was picked (a_q where it was not asked): ridge regression, the least squares
form of the bootstrapping by items of Golbandi, Koren and Lempel 2011. What was not picked tells too, which no history can. Everyone's R is thinned to
`ANSWERED`: of what people would take in the end, their first answers name a part.

As events come the models of histories take over: with n events, z = h z_models + (1 − h) z_answers, h = n / (n + `HANDOVER`).

Memory: 4·Q·I bytes. Nothing of one person is in it: an option was taken by many, and β is a mean over everybody.

Axes: U people, I items, Q options.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from daogou.contract import Codes, Mask, Scores
from daogou.data.histories import Histories
from daogou.errors import ReleaseError
from daogou.profile import questions

FILE = "newcomers.safetensors"
ANSWERED = 0.5
L2 = 0.1
"""Pull towards what is usual, as a share of the people that β is learned from: people say what comes to mind, and that is less than what they would take."""
HANDOVER = 30.0
"""Events after which models count as much as the answers: with 10 the films of MovieLens lost what 30 kept, and 100 gained nothing."""


class Newcomers:
    """Made by `fit` or `load`.

    Args:
        options_Q: items to ask for, the most telling first; the first `questions.ASKED` of them have an effect, the others stand in for what is sold out.
        usual_I: m, the share of people who took each item.
        rate_Q: a.
        effect_QI: β.
    """

    def __init__(self, options_Q: Codes, usual_I: Scores, rate_Q: Scores, effect_QI: Scores) -> None:
        self.options_Q, self.usual_I, self.rate_Q, self.effect_QI = options_Q, usual_I, rate_Q, effect_QI
        self._place = {int(code): q for q, code in enumerate(options_Q[: len(rate_Q)].tolist())}

    @classmethod
    def fit(cls, histories: Histories, askable_I: Mask, *, seed: int = 0) -> Self | None:
        """None where too few people are known to ask anything.

        Args:
            askable_I: [I] items that may be asked for.
        """
        options_Q = questions.choose(histories, askable_I, seed=seed).options
        return None if len(options_Q) < questions.OPTIONS else cls.of(options_Q, histories, len(askable_I), seed=seed)

    @classmethod
    def of(cls, options_Q: Codes, histories: Histories, n_items: int, *, seed: int = 0) -> Self:
        """What answers about these options say."""
        taken_UI = questions.taken(histories, n_items, seed)
        asked_Q = options_Q[: questions.ASKED]
        answer_UQ = taken_UI[:, asked_Q].toarray().astype(np.float64)
        answer_UQ *= np.random.default_rng(seed).random(answer_UQ.shape) < ANSWERED
        rate_Q, usual_I = answer_UQ.mean(axis=0), np.asarray(taken_UI.mean(axis=0))[0]
        centred_UQ = answer_UQ - rate_Q
        gram_QQ = centred_UQ.T @ centred_UQ + L2 * len(answer_UQ) * np.eye(len(asked_Q))
        effect_QI = np.linalg.solve(gram_QQ, np.asarray((sp.csr_matrix(taken_UI.T) @ centred_UQ).T))
        return cls(options_Q, usual_I.astype(np.float32), rate_Q.astype(np.float32), effect_QI.astype(np.float32))

    def picked(self, codes: Collection[int]) -> list[int]:
        """Places of those that are options with an effect."""
        return sorted(self._place[code] for code in codes if code in self._place)

    def scores(self, picked: Collection[int], asked: Collection[int] | None = None) -> Scores:
        """[I] m_i and what the answers add to it.

        Args:
            picked: places of the options that were picked.
            asked: places of those that were asked; None = all.
        """
        answer_Q = np.zeros(len(self.rate_Q), np.float32) if asked is None else self.rate_Q.copy()
        if asked is not None:
            answer_Q[list(asked)] = 0.0
        answer_Q[list(picked)] = 1.0
        return np.asarray(self.usual_I + (answer_Q - self.rate_Q) @ self.effect_QI, np.float32)

    def save(self, directory: Path) -> None:
        state: dict[str, NDArray[np.generic]] = {"options": self.options_Q, "usual": self.usual_I, "rate": self.rate_Q, "effect": self.effect_QI}
        save_file({name: np.ascontiguousarray(array) for name, array in state.items()}, directory / FILE)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """
        Raises:
            ReleaseError: the file is missing or damaged.
        """
        try:
            state = load_file(directory / FILE)
            return cls(*(state[name] for name in ("options", "usual", "rate", "effect")))
        except Exception as e:  # every way in which foreign bytes can be wrong
            raise ReleaseError(f"cannot load it ({type(e).__name__}: {e})", fix="train again", where=str(directory / FILE)) from e
