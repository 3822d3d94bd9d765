"""What a pod's template has to know of the proxy in it."""

from __future__ import annotations

STOP_SECONDS = 30.0
"""Seconds that requests under way may take once the proxy is to end."""

HEALTH = "/healthz"
"""Path on the health port that answers 200 once the table is in effect."""
