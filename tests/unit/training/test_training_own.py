"""An estimator of the project's own: trained, packed with its code and loaded, or refused."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_project import CODE, ring, written

from penstock.errors import InputError, IntegrityError
from penstock.export.export import export
from penstock.model import background, digest_of, load
from penstock.model.own_skops import read_again
from penstock.own_code.importing import found
from penstock.own_code.libraries import libraries_of
from penstock.own_code.making import make
from penstock.own_code.project_code import code_of
from penstock.own_code.reference import CodeSpec, Reference
from penstock.own_code.sources import find
from penstock.records.features import Features
from penstock.records.model import FILE_NAME, Model
from penstock.serving.loading import load_scorer
from penstock.training.folds import make_folds
from penstock.training.inputs import read_problem
from penstock.training.own_code import own_code
from penstock.training.own_estimator import own_estimator
from penstock.training.spec import TrainingSpec


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("project"), CODE)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Any], code: Path
) -> tuple[Any, Model]:
    bench = make_bench(tmp_path_factory.mktemp("own"))
    bench.prepare(ring())
    record = bench.train(
        candidates=("own",),
        estimator="churn.models:make",
        code={"folder": str(code)},
        search={"own": {"model__sharpness": {"low": 0.5, "high": 2}, "model__rounds": [1.0, 2.0]}},
        trials=6,
        patience=None,
    )
    return bench, record


def test_it_wins_and_its_code_is_packed_with_the_model(trained: Any, code: Path) -> None:
    bench, record = trained
    assert record.name == "own"
    assert 0.5 <= record.parameters["model__sharpness"] <= 2
    # Kubeflow hands whole numbers over as fractions; the parameter takes whole ones.
    assert type(record.parameters["model__rounds"]) is int
    assert record.code.estimator == "churn.models:make"
    assert set(record.code.files) == set(CODE)
    assert record.code.libraries.keys() == {"numpy", "scikit-learn"}
    for name in CODE:
        assert (bench.folder / "model" / "code" / name).read_bytes() == (code / name).read_bytes()
    page = (bench.folder / "model.html").read_text()
    assert "The project's own" in html.unescape(page)


def test_every_way_to_load_it_answers_the_same(trained: Any, tmp_path: Path) -> None:
    import mlflow.pyfunc

    bench, _ = trained
    folder = bench.folder / "model"
    before = digest_of(folder)
    loaded = load(folder, expected_digest=before)
    frame = loaded.frame(background(folder))
    scores = loaded.scores(frame)
    assert len(set(scores.tolist())) > 10
    script = f"""
        import json, sys
        from pathlib import Path
        from penstock.model import background, load
        loaded = load(Path({str(folder)!r}), expected_digest={before!r})
        scores = loaded.scores(loaded.frame(background(Path({str(folder)!r}))))
        print(json.dumps([s.hex() for s in scores.tolist()]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(done.stdout) == [score.hex() for score in scores.tolist()]
    by_mlflow = mlflow.pyfunc.load_model(str(folder)).predict(frame)
    assert by_mlflow.tolist() == loaded.labels(frame).tolist()
    served = load_scorer(folder, digest=before, export="")
    columns = {name: frame[name].tolist() for name in ("a", "b", "kind")}
    columns |= {name: np.array(columns[name], dtype=float) for name in ("a", "b")}
    assert served.scores_of(columns).tolist() == scores.tolist()
    # Whoever loads it leaves nothing behind, such as bytecode.
    assert digest_of(folder) == before


def test_it_has_no_onnx_form_and_says_so(trained: Any, tmp_path: Path) -> None:
    bench, _ = trained
    record = export(bench.folder / "model", holdout=bench.folder / "train", output=tmp_path / "o")
    assert "Bells is of the project's own code" in record.reason
    assert not record.file


def test_two_codes_of_one_name_live_beside_each_other(
    trained: Any, tmp_path: Path, code: Path, make_bench: Any
) -> None:
    bench, record = trained
    other = written(tmp_path / "project", CODE)
    models = other / "churn" / "models.py"
    models.write_text(models.read_text().replace("noise / 1000", "noise"))
    second = make_bench(tmp_path)
    for name in ("train", "features"):
        shutil.copytree(bench.folder / name, tmp_path / name)
    changed = second.train(
        candidates=("own",), estimator="churn.models:make", code={"folder": str(other)}, trials=2
    )
    assert changed.code.digest != record.code.digest
    one, two = (
        load(at / "model", run_code=True).typed.steps[-1][1][-1] for at in (bench.folder, tmp_path)
    )
    assert type(one).__name__ == type(two).__name__ == "Bells"
    assert type(one) is not type(two)


def test_a_module_that_lies_about_is_not_found_even_in_a_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = written(tmp_path / "stray", {"helper_of_nobody.py": "FACTOR = 2"})
    monkeypatch.syspath_prepend(str(stray))
    text = """
        import json.decoder
        try:
            from helper_of_nobody import FACTOR
        except ImportError:
            FACTOR = 1
    """
    project = written(tmp_path / "project", {"odd/__init__.py": "", "odd/models.py": text})
    reference = Reference.of("odd.models:FACTOR")
    assert found(find([reference], folder=project), reference) == 1


def test_changed_code_is_refused(trained: Any, tmp_path: Path) -> None:
    bench, _ = trained
    folder = tmp_path / "model"
    shutil.copytree(bench.folder / "model", folder)
    with pytest.raises(IntegrityError, match="nothing says which model is expected"):
        load(folder)
    path = folder / "code" / "churn" / "shapes.py"
    path.write_text(path.read_text() + "\n# changed\n")
    with pytest.raises(IntegrityError, match="the one that trained the model sha256:"):
        load(folder, run_code=True)
    with pytest.raises(IntegrityError, match="expected sha256:"):
        load(folder, expected_digest=digest_of(bench.folder / "model"))
    path.unlink()
    with pytest.raises(IntegrityError, match=r"churn/shapes\.py"):
        load(folder, run_code=True)


def test_a_type_is_not_trusted_by_its_name_alone(trained: Any, tmp_path: Path) -> None:
    bench, record = trained
    folder = tmp_path / "model"
    shutil.copytree(bench.folder / "model", folder)
    # The record of a model without code of its own: the types in the file name code all the same.
    record.model_copy(update={"code": None}).write(folder / FILE_NAME)
    with pytest.raises(IntegrityError, match="types that are not trusted: penstock_own_"):
        load(folder, run_code=True)


def test_a_library_that_is_not_here_is_named(trained: Any, tmp_path: Path) -> None:
    bench, record = trained
    folder = tmp_path / "model"
    shutil.copytree(bench.folder / "model", folder)
    for libraries, message in (
        ({"no-such-library": "1.0"}, "imports no-such-library 1.0, which is not installed"),
        ({"numpy": "1.0.0"}, "trained with numpy 1.0.0, but"),
    ):
        lacking = record.code.model_copy(update={"libraries": libraries})
        record.model_copy(update={"code": lacking}).write(folder / FILE_NAME)
        with pytest.raises(IntegrityError, match=message):
            load(folder, run_code=True)


HEAD = """
    import numpy as np
    from sklearn.base import BaseEstimator, ClassifierMixin

    COUNT = [0]


    class Base(ClassifierMixin, BaseEstimator):
        def __init__(self, weight=1.0, random_state=None):
            self.weight = weight
            self.random_state = random_state

        def fit(self, X, y):
            self.classes_ = np.unique(y)
            self.share_ = np.mean(y == self.classes_[0])
            return self

        def predict_proba(self, X):
            return np.tile([self.share_, 1 - self.share_], (len(X), 1))

        def predict(self, X):
            return self.classes_[self.predict_proba(X).argmax(axis=1)]
"""
REFUSED = {
    "syntax": ("def make(:", r"bad\.py, line \d+: not Python"),
    "raises": ("1 / 0", "importing bad raises ZeroDivisionError"),
    "ends": ("raise SystemExit(0)", "importing bad raises SystemExit"),
    "absent": ("other = 1", "bad has no make"),
    "library": ("import no_such_library", "imports no_such_library, which is not installed here"),
    "factory": ("def make():\n    raise KeyError('k')", "calling it raises KeyError"),
    "nothing": ("def make():\n    return None", "a NoneType, which has no fit"),
    "class": ("def make():\n    return Base", "the class Base, which has no fit"),
    "regressor": (
        "from sklearn.linear_model import Ridge as make",
        "a Ridge, which is no classifier, for a binary task",
    ),
    "probabilities": (
        "from sklearn.svm import LinearSVC as make",
        "a LinearSVC, which has no predict_proba",
    ),
    "clone": (
        "class make(Base):\n    def __init__(self, weight=1.0):\n        self.weight = [weight]",
        "which cannot be cloned",
    ),
    "returns": (
        "class make(Base):\n    def fit(self, X, y):\n        super().fit(X, y)",
        "its fit returns None",
    ),
    "unseeded": (
        "class make(Base):\n    def fit(self, X, y):\n        super().fit(X, y)\n"
        "        COUNT[0] += 1\n        self.share_ = 1 / (1 + COUNT[0])\n        return self",
        "with the same seed it gives other answers",
    ),
    "writes": (
        "class make(Base):\n    def fit(self, X, y):\n        X[:] = 0\n"
        "        return super().fit(X, y)",
        "changes the features that it is given",
    ),
    "beside": (
        "class make(Base):\n    def predict_proba(self, X):\n"
        "        p = 1 / (1 + np.exp(-len(X)))\n        return np.tile([p, 1 - p], (len(X), 1))",
        "asked for one row it answers",
    ),
    "shape": (
        "class make(Base):\n    def predict_proba(self, X):\n        return np.ones(len(X))",
        "an array of shape",
    ),
    "sums": (
        "class make(Base):\n    def predict_proba(self, X):\n        return np.ones((len(X), 2))",
        "do not add up to 1",
    ),
    "nan": (
        "class make(Base):\n    def predict_proba(self, X):\n"
        "        return super().predict_proba(X) * X[:, :1]",
        "an answer is not finite",
    ),
    "foreign": (
        "class make(Base):\n    def fit(self, X, y):\n        import collections\n"
        "        self.seen_ = collections.deque([1])\n        return super().fit(X, y)",
        "(writing it as skops|types that are not trusted)",
    ),
    "lambda": (
        "class make(Base):\n    def fit(self, X, y):\n        self.how_ = lambda x: x\n"
        "        return super().fit(X, y)",
        "skops|types that are not trusted",
    ),
    "forgets": (
        "class make(Base):\n    def __getstate__(self):\n"
        "        return {k: v for k, v in self.__dict__.items() if k != 'share_'}",
        "AttributeError|read again",
    ),
    "opens": (
        "from pathlib import Path\n\nTEXT = Path('WORDS').read_text()\nmake = Base",
        r"it reads .*/test_training_own\.py, which would not be there where the model is served",
    ),
    "opens late": (
        "class make(Base):\n    def fit(self, X, y):\n        try:\n"
        "            self.more_ = len(open('WORDS').read())\n"
        "        except OSError:\n            self.more_ = 0\n        return super().fit(X, y)",
        r"it reads .*/test_training_own\.py, which would not be there",
    ),
    "imports by name": (
        "import importlib\n\nmake = importlib.import_module('beside').Base",
        "importing bad raises ModuleNotFoundError",
    ),
    "parameter": (
        "make = Base",
        "has no parameter 'depth'; it has random_state, weight",
        {"search": {"own": {"depth": [1, 2]}}},
    ),
    "balanced": ("make = Base", "has no such parameter", {"class_weight": "balanced"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_refused_before_anything_is_written(
    name: str, trained: Any, tmp_path: Path, make_bench: Any
) -> None:
    text, message, *more = REFUSED[name]
    settings: dict[str, Any] = dict(more[0]) if more else {}
    # A file that is older than the trial by more than the grain of a clock, on any machine.
    text = text.replace("WORDS", __file__)
    (tmp_path / "beside.py").write_text(textwrap.dedent(HEAD))
    (tmp_path / "bad.py").write_text(textwrap.dedent(HEAD) + "\n\n" + text + "\n")
    bench = make_bench(tmp_path / "bench")
    bench.folder.mkdir()
    for part in ("train", "features"):
        shutil.copytree(trained[0].folder / part, bench.folder / part)
    with pytest.raises(InputError, match=message):
        bench.train(estimator="bad:make", code={"folder": str(tmp_path)}, **settings)
    assert not bench.left()


def test_what_python_and_penstock_read_is_no_read_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import linecache

    import skops.io
    from sklearn.preprocessing import StandardScaler

    quoting = """
        import traceback

        def make():
            try:
                1 / 0
            except ZeroDivisionError:
                return traceback.format_exc()
    """
    written(tmp_path, {"quoting.py": quoting})
    monkeypatch.chdir(tmp_path)
    linecache.clearcache()
    # Older than the grain of a clock.
    time.sleep(0.1)
    made = make("quoting:make", CodeSpec(folder=str(tmp_path)))
    assert "1 / 0" in made.made
    looked = skops.io.get_untrusted_types
    monkeypatch.setattr(
        "skops.io.get_untrusted_types", lambda **given: time.sleep(0.1) or looked(**given)
    )
    scaler = StandardScaler().fit([[1.0], [2.0]])
    assert read_again(scaler, reference="quoting:make", code="").mean_.tolist() == [1.5]


def test_weights_need_an_estimator_that_takes_them(code: Path) -> None:
    spec = TrainingSpec(estimator="churn.models:make", weights="w", code={"folder": str(code)})
    with pytest.raises(InputError, match="takes no sample_weight in fit"):
        own_estimator(spec, task="binary")


def test_code_elsewhere_is_refused(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "outside.py").write_text("make = 1\n")
    (project / "linked.py").symlink_to(tmp_path / "outside.py")
    (project / "beside.py").write_text("x = 1\n")
    (project / "uses.py").write_text("import beside\n")
    for named, message in (
        ("linked:make", "leads out of the project's folder"),
        ("outside:make", "neither outside/ nor outside.py"),
        ("sklearn.svm:SVC", "neither sklearn/ nor sklearn.py"),
        ("json:loads", "names a package of Python"),
        ("beside.inner:make", r"no beside/inner\.py"),
    ):
        with pytest.raises(InputError, match=message):
            find([Reference.of(named)], folder=project)
    with pytest.raises(InputError, match="imports beside, which is not installed here"):
        libraries_of(find([Reference.of("uses:x")], folder=project))


def test_an_image_with_other_code_is_refused(
    tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = Reference.of("churn.models:make")
    ordered = CodeSpec(digest=find([reference], folder=code).digest)
    monkeypatch.setenv("PENSTOCK_CODE", str(tmp_path / "none"))
    with pytest.raises(InputError, match="Copy the package into the image"):
        code_of([reference], ordered)
    image = written(tmp_path / "image", CODE)
    monkeypatch.setenv("PENSTOCK_CODE", str(image))
    assert code_of([reference], ordered).digest == ordered.digest
    (image / "churn" / "shapes.py").write_text("")
    with pytest.raises(IntegrityError, match="when the run was ordered"):
        code_of([reference], ordered)


def polar(make_bench: Any, folder: Path, code: Path, **settings: Any) -> tuple[Any, Model]:
    """Train on features of the project's own transformer."""
    from penstock.features.fit import fit_features
    from penstock.features.spec import FeaturesSpec

    bench = make_bench(folder)
    bench.prepare(ring())
    shutil.rmtree(bench.folder / "features")
    own = {"transformer": "churn.features:Polar", "code": {"folder": str(code)}}
    fit_features(
        bench.folder / "train", target="y", spec=FeaturesSpec(**own),
        output=bench.folder / "features", report=bench.folder / "features.html",
    )  # fmt: skip
    settings = {"candidates": ("linear",), "trials": 1, "code": own["code"]} | settings
    return bench, bench.train(**settings)


def test_a_transformer_of_the_projects_own_is_fitted_in_each_fold_and_served(
    tmp_path: Path, code: Path, make_bench: Any
) -> None:
    _, record = polar(make_bench, tmp_path, code)
    features = Features.read(tmp_path / "features" / "features.json")
    assert features.outputs == ("distance", "is x")
    # What no line parts is parted by the distance alone.
    assert (record.name, record.score > 0.8) == ("linear", True)
    assert record.code.transformer == "churn.features:Polar"
    folder = tmp_path / "model"
    loaded = load(folder, run_code=True)
    frame = loaded.frame(background(folder))
    away = frame[["a", "b"]].to_numpy() - loaded.typed.steps[0][1].transformers_[0][1][0].middle_
    made = loaded.typed.steps[0][1].transform(frame)
    assert np.array_equal(made[:, 0], np.hypot(*away.T), equal_nan=True)
    served = load_scorer(folder, digest=digest_of(folder), export="")
    columns = {name: np.array(frame[name], dtype=float) for name in ("a", "b")}
    columns["kind"] = frame["kind"].tolist()
    assert served.scores_of(columns).tolist() == loaded.scores(frame).tolist()
    record = export(folder, holdout=tmp_path / "train", output=tmp_path / "onnx")
    assert "transformer of the project's own code has no ONNX form" in record.reason
    linear = load(tmp_path / "model-baselines" / "linear", run_code=True)
    assert linear.record.code == loaded.record.code
    # Each fold has a middle of its own.
    problem = read_problem(
        tmp_path / "train", features=tmp_path / "features", target="y", task="auto", positive="",
        split=None,
    )  # fmt: skip
    middles = {
        tuple(fold.features.transformer.transformers_[0][1][0].middle_)
        for fold in make_folds(problem, folds=3, seed=0)[0]
    }
    assert len(middles) == 3


def test_one_code_of_both_is_packed(tmp_path: Path, code: Path, make_bench: Any) -> None:
    own = {"estimator": "churn.models:make", "candidates": ("own",), "trials": 2}
    _, record = polar(make_bench, tmp_path, code, **own)
    assert record.code is not None
    other = written(tmp_path / "other", {"elsewhere.py": CODE["churn/models.py"].replace(
        "from churn.shapes import closeness", "closeness = None").replace(
        "import churn.shapes", "pass").replace("churn.shapes.closeness", "closeness")})  # fmt: skip
    spec = TrainingSpec(estimator="elsewhere:make", code={"folder": str(other)})
    problem = read_problem(
        tmp_path / "train", features=tmp_path / "features", target="y", task="auto", positive="",
        split=None,
    )  # fmt: skip
    with pytest.raises(IntegrityError, match=r"that of features\.transformer sha256:"):
        own_code(problem, spec)


TRANSFORMERS = {
    "no transform": ("class make(BaseEstimator): pass", "which has no fit"),
    "unseeded": (
        "class make(Base):\n    def fit(self, X, y=None):\n        COUNT[0] += 1\n"
        "        self.shift_ = COUNT[0]\n        return self",
        "fitted twice on the same 200 rows it makes other features",
    ),
    "text": (
        "class make(Base):\n    def transform(self, X):\n        return X[['kind']]",
        "could not convert string to float",
    ),
    "infinite": (
        "class make(Base):\n    def transform(self, X):\n        return X[['b']] * np.inf",
        "a feature that is infinite",
    ),
    "beside": (
        "class make(Base):\n    def transform(self, X):\n        return X[['b']] - X['b'].mean()",
        "of one row than of the same row beside others",
    ),
    "lambda": (
        "class make(Base):\n    def fit(self, X, y=None):\n        self.how_ = lambda x: x\n"
        "        return super().fit(X)",
        "skops|types that are not trusted",
    ),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_that_cannot_be_served_is_refused(
    name: str, trained: Any, tmp_path: Path
) -> None:
    from penstock.features.fit import fit_features
    from penstock.features.spec import FeaturesSpec

    text, message = TRANSFORMERS[name]
    head = """
        import numpy as np
        from sklearn.base import BaseEstimator, TransformerMixin

        COUNT = [0]


        class Base(TransformerMixin, BaseEstimator):
            def fit(self, X, y=None):
                self.shift_ = 0.0
                return self

            def transform(self, X):
                return X[["b"]] + self.shift_
    """
    (tmp_path / "bad.py").write_text(textwrap.dedent(head) + "\n\n" + text + "\n")
    with pytest.raises(InputError, match=message):
        fit_features(
            trained[0].folder / "train",
            target="y",
            spec=FeaturesSpec(transformer="bad:make", code={"folder": str(tmp_path)}),
            output=tmp_path / "features",
            report=tmp_path / "features.html",
        )
    assert not (tmp_path / "features").exists()
