"""A project with an estimator, a transformer and metrics of its own, and rows that need them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CODE = {
    "churn/__init__.py": "",
    "churn/shapes.py": '''
        import numpy as np

        def closeness(x, centres, widths):
            """Return the log density of each row around each centre."""
            away = (x[:, None, :] - centres[None, :, :]) / widths
            return -(away**2).sum(axis=2) / 2 - np.log(widths).sum(axis=1)
    ''',
    "churn/features.py": '''
        import numpy as np
        from sklearn.base import BaseEstimator, TransformerMixin


        class Polar(TransformerMixin, BaseEstimator):
            """The distance of each row from the middle of the rows that were seen, and its kind."""

            def fit(self, X, y=None):
                self.middle_ = X[["a", "b"]].mean().to_numpy()
                return self

            def transform(self, X):
                away = X[["a", "b"]].to_numpy() - self.middle_
                return np.column_stack([np.hypot(*away.T), X["kind"] == "x"])

            def get_feature_names_out(self, names=None):
                return np.array(["distance", "is x"])


        class Centred(Polar):
            """Where each row lies from the middle, which a line cannot tell apart."""

            def transform(self, X):
                return X[["a", "b"]].to_numpy() - self.middle_

            def get_feature_names_out(self, names=None):
                return np.array(["right", "up"])
    ''',
    "churn/metrics.py": '''
        import numpy as np


        def cost(truth, predicted):
            """Return what mistakes cost a row: one of the positive class three."""
            return np.where(truth == predicted, 0.0, np.where(truth == 1, 3.0, 1.0)).mean()


        def spread(truth, scores):
            """Return how far apart the mean scores of the classes are."""
            return scores[truth == 1].mean() - scores[truth == 0].mean()
    ''',
    "churn/models.py": '''
        import numpy as np
        from sklearn.base import BaseEstimator, ClassifierMixin
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import StandardScaler

        from churn.shapes import closeness


        class Bells(ClassifierMixin, BaseEstimator):
            """A bell around the mean of each class."""

            def __init__(self, sharpness=1.0, rounds=1, random_state=None):
                self.sharpness = sharpness
                self.rounds = rounds
                self.random_state = random_state

            def fit(self, X, y):
                import churn.shapes

                assert churn.shapes.closeness is closeness
                self.classes_ = np.unique(y)
                self.centres_ = np.array([X[y == c].mean(axis=0) for c in self.classes_])
                self.widths_ = np.array([X[y == c].std(axis=0) + 1e-3 for c in self.classes_])
                noise = np.random.default_rng(self.random_state).normal(size=self.centres_.shape)
                self.centres_ = self.centres_ + noise / 1000
                return self

            def predict_proba(self, X):
                found = self.sharpness * closeness(X, self.centres_, self.widths_)
                found = np.exp(found - found.max(axis=1, keepdims=True))
                return found / found.sum(axis=1, keepdims=True)

            def predict(self, X):
                return self.classes_[self.predict_proba(X).argmax(axis=1)]


        def make():
            steps = [("impute", SimpleImputer()), ("scale", StandardScaler()), ("model", Bells())]
            return Pipeline(steps)
    ''',
}


def ring(rows: int = 300, *, seed: int = 5) -> dict[str, Any]:
    """Two classes, one around the other: a line does not part them."""
    random = np.random.default_rng(seed)
    inside = np.arange(rows) % 2 == 0
    across = np.where(inside, 1.0, 3.0)[:, None] * random.normal(size=(rows, 2))
    return {
        "a": [None if at % 25 == 0 else float(v) for at, v in enumerate(across[:, 0])],
        "b": across[:, 1].tolist(),
        "kind": random.choice(["x", "y"], rows).tolist(),
        "y": np.where(inside, "in", "out").tolist(),
    }


def written(folder: Path, code: Mapping[str, str]) -> Path:
    """Write source files, each without the indent of its first line."""
    for name, text in code.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder
