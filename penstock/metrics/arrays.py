"""The array types of the statistics. Imported only while evaluating."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
"""Classes as integers: see `penstock.metrics.definitions.codes`."""

Flags = NDArray[np.bool_]
