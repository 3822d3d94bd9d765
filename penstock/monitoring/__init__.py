"""Watching a served model: signals, windows, a detector of change, and what follows from it."""
