"""The options of a model server that name a feature server."""

from __future__ import annotations

import argparse

from penstock.records.feature_server import FeatureServerSpec


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to a server's command line."""
    parser.add_argument(
        "--feature-server",
        default="",
        metavar="URL",
        help="feature server of Feast that is asked for the features of entities that requests "
        "name; left out: rows are whole",
    )
    parser.add_argument(
        "--feature-timeout",
        type=float,
        default=1.0,
        help="seconds that it may take to answer (%(default)s)",
    )
    parser.add_argument(
        "--missing-features",
        choices=("refuse", "null"),
        default="refuse",
        help="a feature that it has no value of (%(default)s)",
    )


def spec_of(options: argparse.Namespace) -> FeatureServerSpec:
    """Return what a command line says.

    Raises:
        InputError: If it cannot be.
    """
    given = {
        "url": options.feature_server,
        "timeout": options.feature_timeout,
        "missing": options.missing_features,
    }
    return FeatureServerSpec.parse(given, where="--feature-server")


def arguments(spec: FeatureServerSpec) -> dict[str, str]:
    """Return the options that say it; none without a feature server.

    Example:
        >>> arguments(FeatureServerSpec(url="http://feast:6566"))["--feature-server"]
        'http://feast:6566'
    """
    if not spec.url:
        return {}
    return {
        "--feature-server": spec.url,
        "--feature-timeout": f"{spec.timeout:g}",
        "--missing-features": spec.missing,
    }
