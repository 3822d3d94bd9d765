"""A simulated stream of card transactions, some of them fraud. Nothing in it is real."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.common import files
from penstock.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TARGET = "fraud"
TIME = "time"

_DAYS = 60
_START = "2026-01-05T00:00:00"
_CATEGORIES = (
    ("groceries", 0.24), ("restaurant", 0.17), ("fuel", 0.11), ("fashion", 0.10),
    ("electronics", 0.08), ("travel", 0.06), ("pharmacy", 0.06), ("entertainment", 0.07),
    ("gift cards", 0.03), ("jewellery", 0.02), ("home & garden", 0.05), ("other", 0.01),
)  # fmt: skip
_CHANNELS = (("contactless", 0.46), ("online", 0.28), ("chip", 0.22), ("cash machine", 0.04))
_COUNTRIES = (
    ("DE", 0.55), ("FR", 0.12), ("NL", 0.08), ("AT", 0.07), ("IT", 0.06), ("ES", 0.05),
    ("US", 0.03), ("GB", 0.02), ("BR", 0.01), ("NG", 0.005), ("VN", 0.005),
)  # fmt: skip
_FAR = ("US", "BR", "NG", "VN")
_SHARPNESS = 2.0


def transactions(
    *,
    rows: int = 50_000,
    seed: int = 20,
    drift: float = 0.0,
    label_noise: float = 0.0,
    drifted: bool = False,
) -> pd.DataFrame:
    """Return a simulated table of card transactions, ordered by time.

    Args:
        rows: Number of transactions.
        seed: Seed of the simulation; the same arguments give the same table.
        drift: From 0 to 1: how far amounts rise and fraud moves from online purchases to cash
            machines over the 60 days. At 0 the stream does not change.
        label_noise: Share of the labels that are flipped, from 0 to 0.5.
        drifted: Whether all rows are as they are after the 60 days.

    Returns:
        A frame of `rows` rows: time (timestamp), amount (euros), category, channel, country,
        distance_km (from the last purchase; missing for about 4 %), hour_gap (hours since the last
        purchase), card_age_days, purchases_24h, first_time_merchant (boolean), email_domain
        (online only, else missing), pin_entered (boolean, missing online) and fraud (boolean,
        about 2 % true).

    Raises:
        InputError: If an argument is out of range.
    """
    import numpy as np
    import pandas as pd

    _check(rows=rows, drift=drift, label_noise=label_noise)
    draw = np.random.default_rng(seed)
    age = np.sort(draw.random(rows))
    hour = (draw.normal(14.5, 4.6, rows)) % 24
    day = np.floor(age * _DAYS)
    seconds = np.sort(day * 86_400 + np.floor(hour * 3600))
    late = np.ones(rows) if drifted else age
    channel = _choice(draw, _CHANNELS, rows)
    online = channel == "online"
    frame = pd.DataFrame(
        {
            TIME: pd.Timestamp(_START) + pd.to_timedelta(seconds, unit="s"),
            "amount": np.round(draw.lognormal(3.2 + 0.5 * drift * late, 0.95, rows), 2),
            "category": _choice(draw, _CATEGORIES, rows),
            "channel": channel,
            "country": _choice(draw, _COUNTRIES, rows),
            "distance_km": np.round(draw.gamma(0.7, 14.0, rows), 1),
            "hour_gap": np.round(draw.gamma(0.9, 13.0, rows), 2),
            "card_age_days": draw.integers(3, 3_650, rows),
            "purchases_24h": draw.poisson(2.1, rows),
            "first_time_merchant": draw.random(rows) < 0.22,
        }
    )
    domains = draw.choice(
        ["mail.example", "post.example", "quick.example"], rows, p=[0.6, 0.3, 0.1]
    )
    frame["email_domain"] = pd.Series(domains, dtype=object)
    frame["pin_entered"] = pd.Series(draw.random(rows) < 0.5, dtype=object)
    frame.loc[~online, "email_domain"] = None
    frame.loc[online, "pin_entered"] = None
    fraud = draw.random(rows) < _probability(frame, age=late, drift=drift)
    frame[TARGET] = fraud ^ (draw.random(rows) < label_noise)
    frame.loc[draw.random(rows) < 0.04, "distance_km"] = np.nan
    frame.loc[draw.random(rows) < 0.01, "category"] = None
    return frame


def write(path: Path, *, rows: int, seed: int, drift: float, label_noise: float) -> int:
    """Write the simulated table as CSV, whole or not at all, and return the number of frauds.

    Args:
        path: The CSV file to write.
        rows: See `transactions`.
        seed: See `transactions`.
        drift: See `transactions`.
        label_noise: See `transactions`.
    """
    frame = transactions(rows=rows, seed=seed, drift=drift, label_noise=label_noise)
    files.write_text(path, frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S"))
    return int(frame[TARGET].sum())


def _probability(frame: pd.DataFrame, *, age: np.ndarray, drift: float) -> np.ndarray:
    import numpy as np

    late = drift * age
    online = (frame["channel"] == "online").to_numpy()
    cash = (frame["channel"] == "cash machine").to_numpy()
    hour = frame[TIME].dt.hour.to_numpy()
    score = (
        -6.9
        + 0.75 * np.log1p(frame["amount"].to_numpy())
        + 2.2 * np.isin(frame["country"], _FAR)
        + 2.0 * frame["category"].isin(["electronics", "gift cards", "jewellery"]).to_numpy()
        + (1.2 - 1.8 * late) * online
        + 2.6 * late * cash
        + 0.9 * frame["first_time_merchant"].to_numpy()
        + 1.8 * (frame["distance_km"].to_numpy() > 40) * ~online
        + 0.8 * ((hour < 5) | (hour > 22))
        + 0.35 * np.maximum(frame["purchases_24h"].to_numpy() - 3, 0)
        + 1.9 * (frame["email_domain"] == "quick.example").to_numpy()
        - 0.9 * (frame["pin_entered"] == True).to_numpy()  # noqa: E712
        - 0.4 * (frame["card_age_days"].to_numpy() > 400)
    )
    return np.asarray(1 / (1 + np.exp(-_SHARPNESS * (score))))


def _choice(
    draw: np.random.Generator, levels: tuple[tuple[str, float], ...], rows: int
) -> np.ndarray:
    import numpy as np

    shares = np.array([share for _, share in levels])
    return draw.choice([name for name, _ in levels], rows, p=shares / shares.sum())


def _check(*, rows: int, drift: float, label_noise: float) -> None:
    bounds = (
        ("rows", rows, 100, 100_000_000),
        ("drift", drift, 0, 1),
        ("label_noise", label_noise, 0, 0.5),
    )
    for name, value, low, high in bounds:
        if not low <= value <= high:
            raise InputError(f"{value} is not between {low:,} and {high:,}", where=name)
