"""Errors travel: between processes, and into another thread's report, as they are."""

from __future__ import annotations

import copy
import pickle

import pytest

from penstock import errors
from penstock.errors import InputError, LeaseLostError, MissingLibraryError, ReadingError

_KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, errors.PenstockError)
    and kind not in (ReadingError, MissingLibraryError)
]
_MADE = [
    *(kind("no such column 'x'", where="data.csv", remedy="Name another.") for kind in _KINDS),
    ReadingError("a comma", where="data.csv", proposal={"separator": ";"}),
    MissingLibraryError("skops", extra="train", where="the train step"),
]


@pytest.mark.parametrize("error", _MADE, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_after_pickling_and_copying(error: errors.PenstockError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert (again.what, again.where, again.remedy) == (error.what, error.where, error.remedy)
        assert getattr(again, "name", None) == getattr(error, "name", None)
    assert LeaseLostError in _KINDS
    assert InputError in _KINDS
