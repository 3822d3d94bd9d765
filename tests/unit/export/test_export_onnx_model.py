"""An ONNX form is checked before it is run, and answers with the model's own face."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from penstock import model
from penstock.common import files
from penstock.errors import InputError, IntegrityError
from penstock.export.export import export
from penstock.model import onnx as onnx_model
from penstock.records.export import Export

Models = Callable[..., Path]


@dataclass(frozen=True)
class Exported:
    """A model folder with its form, and the digests it was given."""

    folder: Path
    digest: str
    export_digest: str

    def load(self, **changes: str) -> onnx_model.OnnxModel:
        given = {"expected_digest": self.digest, "export_digest": self.export_digest} | changes
        return onnx_model.load(self.folder, **given)

    @property
    def serving(self) -> Path:
        return self.folder / "serving"

    def reload(self) -> onnx_model.OnnxModel:
        """Load it as if the registry named the form as it is now."""
        return self.load(export_digest=files.digest_of_folder(self.serving))

    def rewrite(self, content: bytes) -> None:
        """Replace the ONNX file, its digest in export.json too."""
        (self.serving / "model.onnx").write_bytes(content)
        path = self.serving / "export.json"
        changed = {"file": files.digest_of_file(self.serving / "model.onnx")}
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.fixture
def exported(models: Models, write_holdout: Callable[..., Path], tmp_path: Path) -> Exported:
    folder = tmp_path / "model"
    shutil.copytree(models("binary"), folder)
    export(folder, holdout=write_holdout(), output=folder / "serving")
    return Exported(folder, model.digest_of(folder), files.digest_of_folder(folder / "serving"))


def columns() -> dict[str, Any]:
    return {
        "age": np.array([31.0, np.nan, 50.0]),
        "hours per-week": np.array([44.0, 46.5, np.nan]),
        "member": np.array([1.0, 0.0, np.nan]),
        "job": ["nurse", None, "unseen"],
        "since": [datetime(1969, 12, 31, 23, tzinfo=UTC), None, datetime(2020, 2, 29, tzinfo=UTC)],
    }


def test_both_runtimes_answer_alike(exported: Exported) -> None:
    form, itself = exported.load(), model.load(exported.folder)
    assert (form.runtime, itself.runtime) == ("onnx", "sklearn")
    assert (form.digest, form.record) == (itself.digest, itself.record)
    ours, theirs = form.scores_of(columns()), itself.scores_of(columns())
    assert np.abs(ours - theirs).max() < 1e-15
    assert form.labels_of(ours).tolist() == itself.labels_of(theirs).tolist()
    arrow_like = columns() | {"since": np.array(["1969-12-31T23", "NaT", "2020-02-29"], "M8[us]")}
    assert np.array_equal(form.scores_of(arrow_like), ours)
    assert np.array_equal(itself.scores_of(arrow_like), theirs)
    assert form.export.max_difference < 1e-13


@pytest.mark.parametrize("text", ["\ud800", "half \udcff", "a\0b", "\U0001f600", ""])
def test_any_text_is_an_unseen_level(exported: Exported, text: str) -> None:
    rows = columns() | {"job": [text] * 3}
    unseen = columns() | {"job": ["unseen"] * 3}
    form, itself = exported.load(), model.load(exported.folder)
    assert np.array_equal(form.scores_of(rows), form.scores_of(unseen))
    assert np.array_equal(itself.scores_of(rows), itself.scores_of(unseen))


def test_columns_that_do_not_form_rows_are_refused(exported: Exported) -> None:
    for scorer in (exported.load(), model.load(exported.folder)):
        with pytest.raises(InputError, match="missing columns: 'age', 'job'"):
            scorer.scores_of({k: v for k, v in columns().items() if k not in ("age", "job")})
        with pytest.raises(InputError, match=r"different lengths.*'job': 1"):
            scorer.scores_of(columns() | {"job": ["nurse"]})


def test_it_needs_neither_scikit_learn_nor_pandas(exported: Exported) -> None:
    script = f"""
import sys
import numpy as np
from penstock.model import onnx as onnx_model
form = onnx_model.load(
    __import__("pathlib").Path({str(exported.folder)!r}),
    expected_digest={exported.digest!r}, export_digest={exported.export_digest!r})
rows = {{"age": np.array([31.0]), "hours per-week": np.array([44.0]), "member": np.array([1.0]),
        "job": ["nurse"], "since": [None]}}
form.labels_of(form.scores_of(rows))
heavy = ("sklearn", "pandas", "scipy", "skops", "onnx", "skl2onnx", "mlflow", "pyarrow", "yaml")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


def test_an_altered_model_is_refused(exported: Exported) -> None:
    (exported.folder / "requirements.txt").write_text("other\n")
    with pytest.raises(IntegrityError, match=r"digest of the model is .* expected"):
        exported.load()


@pytest.mark.parametrize("name", ["model.onnx", "export.json", "another"])
def test_an_altered_form_is_refused(exported: Exported, name: str) -> None:
    with (exported.serving / name).open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(IntegrityError, match=r"digest of the ONNX form is .* expected") as caught:
        exported.load()
    assert "serving" in caught.value.where


def test_a_file_that_its_record_does_not_name_is_refused(exported: Exported) -> None:
    with (exported.serving / "model.onnx").open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(IntegrityError, match=r"digest of model\.onnx is"):
        exported.reload()


def test_the_form_of_another_model_is_refused(
    exported: Exported, models: Models, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(models("binary", 3), other)
    shutil.copytree(exported.serving, other / "serving")
    with pytest.raises(IntegrityError, match="digest of the model it was made from is"):
        onnx_model.load(
            other, expected_digest=model.digest_of(other), export_digest=exported.export_digest
        )


def test_a_form_that_is_not_there_is_refused(exported: Exported) -> None:
    path = exported.serving / "export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"file": "", "reason": "no luck"}))
    with pytest.raises(InputError, match="no ONNX form: no luck"):
        exported.reload()
    shutil.rmtree(exported.serving)
    with pytest.raises(InputError, match="the folder does not exist"):
        exported.load()


def test_inputs_of_other_columns_are_refused(exported: Exported) -> None:
    described = Export.read(exported.serving / "export.json")
    fewer = described.model_copy(update={"inputs": described.inputs[1:]})
    fewer.write(exported.serving / "export.json")
    with pytest.raises(IntegrityError, match="inputs are not the model's columns"):
        exported.reload()


def _parsed(exported: Exported) -> onnx.ModelProto:
    return onnx.load(exported.serving / "model.onnx")


def _with_node(exported: Exported, node: onnx.NodeProto) -> bytes:
    built = _parsed(exported)
    built.graph.node.append(node)
    return bytes(built.SerializeToString())


def _external(exported: Exported) -> bytes:
    built = _parsed(exported)
    constant = built.graph.initializer[0]
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    entry = constant.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return bytes(built.SerializeToString())


def _external_in_node(exported: Exported) -> bytes:
    built = _parsed(exported)
    (trees,) = (node for node in built.graph.node if node.op_type == "TreeEnsemble")
    (splits,) = (a for a in trees.attribute if a.name == "nodes_splits")
    entry = splits.t.external_data.add()
    entry.key, entry.value = "location", "weights"
    return bytes(built.SerializeToString())


def _subgraph(exported: Exported) -> bytes:
    inner = helper.make_graph([], "inner", [], [])
    node = helper.make_node("If", ["v0_0"], ["x"], then_branch=inner, else_branch=inner)
    return _with_node(exported, node)


def _hidden_subgraph(exported: Exported) -> bytes:
    inner = helper.make_graph([], "inner", [], [])
    return _with_node(exported, helper.make_node("Add", ["a", "b"], ["x"], body=inner))


def _function(exported: Exported) -> bytes:
    built = _parsed(exported)
    built.functions.append(helper.make_function("ai.onnx.ml", "LabelEncoder", ["X"], ["Y"], [], []))
    return bytes(built.SerializeToString())


BAD: dict[str, tuple[Callable[[Exported], bytes], str]] = {
    "operator": (
        lambda e: _with_node(e, helper.make_node("Loop", [""], ["x"])),
        r"uses the operator ai.onnx.Loop",
    ),
    "domain": (
        lambda e: _with_node(e, helper.make_node("Add", ["a"], ["x"], domain="com.evil")),
        r"uses the operator com.evil.Add",
    ),
    "external": (_external, "refers to data in another file"),
    "external in a node": (_external_in_node, "refers to data in another file"),
    "graph": (_subgraph, "has a graph inside its graph"),
    "hidden graph": (_hidden_subgraph, "has a graph inside its graph"),
    "function": (_function, "has functions of its own"),
    "empty": (lambda _: b"", "has 0 graphs"),
    "text": (lambda _: b"this is no model at all", "not an ONNX model"),
    "cut": (lambda e: (e.serving / "model.onnx").read_bytes()[:-20], "not an ONNX model"),
    "two graphs": (
        lambda e: (e.serving / "model.onnx").read_bytes() + b"\x3a\x00",
        "has 2 graphs",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_holds_more_than_ours_is_refused_by_name(exported: Exported, name: str) -> None:
    make, message = BAD[name]
    exported.rewrite(make(exported))
    with pytest.raises(IntegrityError, match=message):
        exported.reload()


def test_a_graph_that_onnx_runtime_does_not_take_is_refused(exported: Exported) -> None:
    exported.rewrite(_with_node(exported, helper.make_node("Add", ["no", "such"], ["x"])))
    with pytest.raises(IntegrityError, match="ONNX Runtime refuses the model"):
        exported.reload()
