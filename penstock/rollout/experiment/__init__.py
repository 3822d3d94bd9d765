"""Experiments on a business KPI: two versions, users who keep theirs, and a reading at any time."""
