"""Settings that are scored side by side: by threads here, or by the processes of an engine."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from penstock.data.engine import Each, here
from penstock.errors import ServiceError
from penstock.training import estimators
from penstock.training.crossval import CrossValidation, FoldScore, Given, Running
from penstock.training.feature_columns import PIECE

if TYPE_CHECKING:
    import numpy as np

BATCH = 4
"""Settings proposed and scored side by side. Fixed, so that the number of cores, which decides how
many really run at once, does not decide what is tried."""

Scores: TypeAlias = Callable[[Sequence[Running], int], list[FoldScore]]
"""Scores settings on a fold, in their order."""


@contextlib.contextmanager
def scoring(validation: CrossValidation, *, each: Each = here) -> Iterator[Scores]:
    """Yield what scores settings on a fold; the scores are the same, to the last bit, in each way.

    Args:
        validation: What they are scored on.
        each: The engine. Another than this process takes matrices from files, which all of its
            workers map into their memory; they lie in the folder for temporary files meanwhile.

    Raises:
        InputError: If the metric is not a number for some setting.
        ServiceError: If workers of the engine die again and again.
    """
    if each is here:
        with _threads() as workers:
            yield functools.partial(_by_threads, validation, workers)
    else:
        with tempfile.TemporaryDirectory(prefix="penstock-train-") as folder:
            yield _Spread(validation, each, Path(folder)).scores


def _by_threads(
    validation: CrossValidation,
    workers: ThreadPoolExecutor,
    settings: Sequence[Running],
    fold: int,
) -> list[FoldScore]:
    """Return the score of each setting on a fold.

    Of many rows those that take one form of the features are scored side by side, and the next
    after them: two forms beside one another would be two matrices.
    """
    forms = [estimators.form(one.family) for one in settings]
    turns = dict.fromkeys(forms) if validation.is_large else [None]
    found: dict[int, FoldScore] = {}
    for turn in turns:
        chosen = [at for at, form in enumerate(forms) if turn in (None, form)]
        scores = workers.map(
            lambda at: validation.score(settings[at].estimator, fold, family=settings[at].family),
            chosen,
        )
        found |= dict(zip(chosen, scores, strict=True))
    return [found[at] for at in range(len(settings))]


@contextlib.contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Yield threads that fit one setting each, on one core each.

    Gradient boosting's own threads meet at a barrier for every node of every tree: on a machine
    that others use too, that made a fit 10 times slower than one thread alone. Fits beside one
    another never wait for each other, and scikit-learn releases Python's lock while it computes.
    """
    from joblib import cpu_count
    from threadpoolctl import threadpool_limits

    with ThreadPoolExecutor(
        min(BATCH, cpu_count()), initializer=threadpool_limits, initargs=(1, "openmp")
    ) as workers:
        yield workers


class _Spread:
    """Scores settings by an engine, on files that every worker maps."""

    def __init__(self, validation: CrossValidation, each: Each, folder: Path) -> None:
        import joblib

        self._validation, self._each, self._folder = validation, each, folder
        joblib.dump(validation, folder / _VALIDATION)

    def scores(self, settings: Sequence[Running], fold: int) -> list[FoldScore]:
        """Return the score of each setting on a fold; there may be none left."""
        if not settings:
            return []
        forms = [self._validation.form(one.estimator, one.family) for one in settings]
        for form, one in dict(zip(forms, settings, strict=True)).items():
            self._store(one, fold, form)
        tasks = [
            _Task(at, one.estimator, one.family, form)
            for at, (one, form) in enumerate(zip(settings, forms, strict=True))
        ]
        found = dict(
            pair for share in self._each(_Work(self._folder, fold), tasks) for pair in share
        )
        return [found[at] for at in range(len(settings))]

    def _store(self, one: Running, fold: int, form: str) -> None:
        """Write the matrices of a fold in a form, of many rows in the place of another fold's."""
        import numpy as np

        fitted, held_out = (_file(self._folder, fold, form, what) for what in _MATRICES)
        if held_out.exists():
            return
        if self._validation.holds_one_fold:
            for path in self._folder.glob("*.npy"):
                if not path.name.startswith(f"{fold}-"):
                    path.unlink()
        x, pieces = self._validation.made(one.estimator, fold, form)
        rows = len(self._validation.folds[fold].rows_out)
        try:
            np.save(fitted, x)
            # Not through a map: one that grows into a full disk ends the process.
            with held_out.open("wb") as stream:
                header = {"descr": x.dtype.str, "fortran_order": False, "shape": (rows, x.shape[1])}
                np.lib.format.write_array_header_2_0(stream, header)
                for piece in pieces():
                    np.ascontiguousarray(piece, dtype=x.dtype).tofile(stream)
        except OSError as error:
            raise ServiceError(
                f"the features of a fold cannot be written: {error.strerror or error}",
                where=str(self._folder),
                remedy="Name a larger folder by TMPDIR, or leave the step without training.engine.",
            ) from error


@dataclass(frozen=True)
class _Task:
    """A setting that is to be scored: its place among the others, and what it is fitted on."""

    at: int
    estimator: Any
    family: str
    form: str


@dataclass(frozen=True)
class _Work:
    """Scores settings on a fold in a process of the engine."""

    folder: Path
    fold: int

    def __call__(self, tasks: Sequence[_Task]) -> list[tuple[int, FoldScore]]:
        """Return the score of each, by its place."""
        from threadpoolctl import threadpool_limits

        validation = _validation(self.folder)
        with threadpool_limits(1), warnings.catch_warnings():
            _ignore_early_ends()
            return [(one.at, self._score(validation, one)) for one in tasks]

    def _score(self, validation: CrossValidation, task: _Task) -> FoldScore:
        x, out = (_mapped(_file(self.folder, self.fold, task.form, what)) for what in _MATRICES)
        size = PIECE if validation.is_large else max(1, len(out))
        pieces = [out[at : at + size] for at in range(0, len(out), size)]
        given: Given = (x, lambda: pieces)
        return validation.score(task.estimator, self.fold, family=task.family, given=given)


_VALIDATION = "validation"
_MATRICES = ("fitted", "held-out")
_MODE: Literal["c"] = "c"
"""Copied on write: some of scikit-learn's code takes no array that cannot be written."""


def _file(folder: Path, fold: int, form: str, what: str) -> Path:
    return folder / f"{fold}-{form}-{what}.npy"


@functools.lru_cache(maxsize=1)
def _validation(folder: Path) -> CrossValidation:
    """Return what settings are scored on; its arrays stay in the file."""
    import joblib

    loaded: CrossValidation = joblib.load(folder / _VALIDATION, mmap_mode=_MODE)
    return loaded


def _mapped(path: Path) -> np.ndarray:
    import numpy as np

    # What computes asks for the type itself, which a map of a file is not.
    return np.asarray(np.load(path, mmap_mode=_MODE))


def _ignore_early_ends() -> None:
    """Take a linear model that stopped early as it is, like any other setting."""
    from sklearn.exceptions import ConvergenceWarning

    warnings.simplefilter("ignore", ConvergenceWarning)
