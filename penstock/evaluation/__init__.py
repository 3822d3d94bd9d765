"""Metrics on the holdout, and the comparison with the champion."""
