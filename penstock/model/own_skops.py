"""Whether what a project's own code fitted can be kept: written as skops, and read again."""

from __future__ import annotations

from typing import Any

from penstock.errors import InputError
from penstock.model.loading import is_trusted
from penstock.own_code.making import reported


def read_again(fitted: Any, *, reference: str, code: str) -> Any:
    """Return a fitted object as a server would load it.

    Args:
        fitted: The object.
        reference: What the project file names, for errors.
        code: Digest of the project's code.

    Raises:
        InputError: If it cannot be written or read, or holds types that are not trusted.
    """
    from skops.io import dumps, get_untrusted_types, loads

    with reported(reference, "writing it as skops"):
        kept = dumps(fitted)
    types = get_untrusted_types(data=kept)
    foreign = [kind for kind in types if not is_trusted(kind, code=code)]
    if foreign:
        raise InputError(
            f"fitted it holds types that are not trusted: {', '.join(foreign)}",
            where=reference,
            remedy="A model may hold the project's own classes, NumPy's, SciPy's and "
            "scikit-learn's: keep what it learns in these.",
        )
    # From memory: a file of ours would be one that a server does not have.
    with reported(reference, "reading it again from skops"):
        return loads(kept, trusted=types)
