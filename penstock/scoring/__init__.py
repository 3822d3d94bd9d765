"""Batch scoring: every row of a source answered by a version, as its server answers requests."""
