"""Great Expectations without SciPy and Altair says what it says with them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from penstock.quality._gx_import import entropy

SCRIPT = """
import sys
{first}
from penstock.quality import _gx_import
_gx_import.load()
loaded = {{"scipy", "altair"}} & sys.modules.keys()
import great_expectations as gx, pandas as pd
batch = (gx.get_context(mode="ephemeral").data_sources.add_pandas("a").add_dataframe_asset("b")
    .add_batch_definition_whole_dataframe("c").get_batch({{"dataframe": pd.DataFrame(
        {{"x": list("aaabbcdd"), "y": [0.5, 1.5, 1.7, 2.5, 2.6, 2.7, 3.5, 3.9]}})}}))
kl = gx.expectations.ExpectColumnKLDivergenceToBeLessThan
for column, partition in (
    ("x", {{"values": ["a", "b", "c", "d"], "weights": [0.4, 0.3, 0.1, 0.2]}}),
    ("y", {{"bins": [0, 1, 2, 3, 4], "weights": [0.1, 0.3, 0.4, 0.2]}}),
):
    answer = batch.validate(kl(column=column, partition_object=partition, threshold=0.1))
    print(answer.success, round(answer.result["observed_value"], 12))
from scipy.stats import kstest
print(sorted(loaded), callable(kstest))
"""


def _said(first: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT.format(first=first)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.long
def test_a_divergence_is_the_same_without_either() -> None:
    without, given = _said(""), _said("import scipy.stats, altair")
    assert without[:2] == given[:2]
    assert without[2] == "[] True"
    assert given[2] == "['altair', 'scipy'] True"


@pytest.mark.parametrize("seed", range(20))
def test_the_entropy_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.integers(0, 5, size=(2, 8)) * rng.choice([1.0, 1e-3], size=(2, 8))
    p[0] = q[1] = 1.0
    assert entropy(p, q) == pytest.approx(stats.entropy(p, q), rel=1e-12)
    assert entropy(p, p) == 0
