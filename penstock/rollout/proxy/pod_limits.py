"""What a pod's template has to know of the proxy in it."""

from __future__ import annotations

from penstock.captures.spec import GRACE

STOP_SECONDS = 30.0
"""Seconds that requests under way may take once the proxy is to end."""

ENDING = STOP_SECONDS + GRACE + 10
"""Seconds that a pod may take to end: requests are answered first, then events are shipped."""

HEALTH = "/healthz"
"""Path on the health port that answers 200 once the table is in effect."""
