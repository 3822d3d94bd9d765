"""Metrics: how each is defined, what it means, and how its confidence interval is made."""

from penstock.metrics.definitions import LARGEST_TARGET as LARGEST_TARGET
from penstock.metrics.definitions import METRICS as METRICS
from penstock.metrics.definitions import Metric as Metric
from penstock.metrics.definitions import codes as codes
from penstock.metrics.definitions import metric_for as metric_for
from penstock.metrics.definitions import refuse_huge as refuse_huge
from penstock.metrics.descriptions import names_for as names_for
