"""Metrics: what each is, how it is computed, and how its confidence interval is made.

Where to look:

- what a metric is, by name: `METRICS` in `definitions`; its range and its words: `descriptions`
- how it is computed on a holdout, with rows of unknown classes: `weighted`; row by row: `losses`
- how its interval is made: `METHODS` in `intervals`, from the formulas in `methods`
- how the difference of two models gets its interval: `METHODS` in `comparisons`
- how much each row moves it (the delta method): `influence`; by resampling: `bootstrap`
- what plots show: `curves`; how well one column alone predicts the target: `single_column`

What is imported here needs no NumPy. The other modules do, and are imported while evaluating.
"""

from penstock.metrics.definitions import LARGEST_TARGET as LARGEST_TARGET
from penstock.metrics.definitions import METRICS as METRICS
from penstock.metrics.definitions import Metric as Metric
from penstock.metrics.definitions import codes as codes
from penstock.metrics.definitions import metric_for as metric_for
from penstock.metrics.definitions import refuse_huge as refuse_huge
from penstock.metrics.descriptions import names_for as names_for
