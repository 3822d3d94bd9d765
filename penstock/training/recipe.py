"""The record of what a training is done by."""

from __future__ import annotations

import platform
from pathlib import Path

from penstock.metrics.business_value import DecisionValue
from penstock.records.features import FILE_NAME as FEATURES_NAME
from penstock.records.features import Features
from penstock.records.recipe import Machine, Recipe
from penstock.training.spec import TrainingSpec

_VECTORS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "asimd", "sve", "bf16")


def recipe_of(
    spec: TrainingSpec, *, features: Path, positive: str, value: DecisionValue | None
) -> Recipe:
    """Return the recipe of a training that is done here.

    Args:
        spec: The section `training`.
        features: What was fitted on the training part, with the settings of that.
        positive: The class that was named to be scored.
        value: What decisions are worth.
    """
    return Recipe(
        features=Features.read(features / FEATURES_NAME).settings,
        # An engine does not change a model.
        training=spec.model_dump(mode="json", exclude_defaults=True, exclude={"engine"}),
        positive=positive,
        value=None if value is None else _plain(value),
        machine=this_machine(),
    )


def this_machine() -> Machine:
    """Return what is known of the machine that this runs on.

    Example:
        >>> this_machine().system == f"{platform.system()} {platform.machine()}"
        True
    """
    from threadpoolctl import threadpool_info

    # What is loaded by now is what is computed with.
    loaded = {
        " ".join(
            str(one[key])
            for key in ("internal_api", "version", "architecture")
            if one.get(key) is not None
        )
        for one in threadpool_info()
        if one["user_api"] == "blas"
    }
    processor, flags = _processor()
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=processor,
        features=tuple(name for name in _VECTORS if name in flags),
        algebra=tuple(sorted(loaded)),
    )


def _processor() -> tuple[str, frozenset[str]]:
    """Return the processor's model and its instructions, as Linux lists them; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor(), frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    flags = fields.get("flags", fields.get("Features", ""))
    return fields.get("model name", ""), frozenset(flags.split())


def _plain(value: DecisionValue) -> dict[str, object]:
    # A rule of the gate is one with settings besides, which set no threshold.
    return value.model_dump(mode="json", include=set(DecisionValue.model_fields))
