"""Imports Great Expectations without SciPy and Altair, of which it uses one function here.

Great Expectations imports both with its package: SciPy for the divergence of
`expect_column_kl_divergence_to_be_less_than`, and for metrics that none of its expectations uses
for; Altair to draw that expectation in pages of its own, which nobody makes here. They are a
quarter of what would be in the image that validates, and a second of each import.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike


def load() -> None:
    """Import Great Expectations, with stand-ins for what of both is not imported yet.

    They are gone afterwards: whoever imports SciPy or Altair later gets the libraries themselves.
    """
    if "great_expectations" in sys.modules:
        return
    # Both look for SciPy or Altair themselves, and are imported first.
    import numpy  # noqa: F401
    import pandas  # noqa: F401

    stand_ins = {name: module for name, module in _stand_ins().items() if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        import great_expectations  # noqa: F401
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _stand_ins() -> dict[str, ModuleType]:
    if "scipy.stats" in sys.modules:
        return {"altair": ModuleType("altair")}
    stats = ModuleType("scipy.stats")
    stats.entropy = entropy  # type: ignore[attr-defined]
    scipy = ModuleType("scipy")
    scipy.stats = stats  # type: ignore[attr-defined]
    return {"altair": ModuleType("altair"), "scipy": scipy, "scipy.stats": stats}


def entropy(pk: ArrayLike, qk: ArrayLike) -> np.float64:
    """Return the Kullback-Leibler divergence of two distributions, as `scipy.stats.entropy` does.

    Args:
        pk: Weights of the first, shape (n,), at least 0; they are made to sum to 1.
        qk: Weights of the second, likewise.

    Returns:
        The sum of p log(p / q) in nats: 0 where p is 0, infinite where q alone is.
    """
    import numpy as np

    p, q = (np.asarray(weights, dtype=np.float64) for weights in (pk, qk))
    p, q = p / p.sum(), q / q.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where((p == 0) & (q >= 0), 0.0, p * np.log(p / q))
    return np.float64(terms.sum())
