"""Estimators, baselines, search, tracking."""
