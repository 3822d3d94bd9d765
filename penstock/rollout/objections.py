"""Whether a candidate may still serve: what the registry says before a move, and at every look."""

from __future__ import annotations

import time

from penstock.errors import LeaseLostError, PenstockError, ServiceError
from penstock.rollout.ending import Actions, Move

_ATTEMPTS = 5
_PAUSE = 0.2
"""Seconds before the registry is tried again, doubled each time: 6 s in all."""


def refused(actions: Actions, *, may_be_champion: bool) -> str:
    """Return why the candidate may not serve; empty: it may.

    Args:
        actions: Its checks in the registry.
        may_be_champion: It may be the champion already; then it is too late to refuse it.
    """
    for attempt in range(_ATTEMPTS):
        try:
            if not (may_be_champion and actions.is_champion()):
                actions.require_admitted()
        except LeaseLostError:
            raise
        except ServiceError as error:
            unknown = f"It cannot be known whether it may serve. {error}"
            time.sleep(_PAUSE * 2**attempt)
        except PenstockError as error:
            return f"It may not serve. {error}"
        else:
            return ""
    return unknown


def objection(actions: Actions) -> Move | None:
    """Return the way back from a candidate that may not serve any more."""
    try:
        actions.require_admitted()
    except LeaseLostError:
        raise
    except ServiceError:
        # A registry that is away for a moment is no answer; the next move waits for one.
        return None
    except PenstockError as error:
        return Move("rollback", f"It may not serve any more. {error}")
    return None
