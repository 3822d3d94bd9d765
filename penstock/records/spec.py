"""The ground of every section of the project file: documented fields, defaults that work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.errors import InputError
from penstock.records.base import explain


class Spec(BaseModel):
    """A section of the project file. Every field has a description and, where it can, a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, raw: Mapping[str, Any], *, where: str) -> Self:
        """Build the section from plain values, as a pipeline parameter or YAML gives them.

        Kubeflow hands whole numbers inside an object over as floats; fields declared as integers
        take `3.0` for `3` and refuse `3.5`.

        Args:
            raw: Field values by name; what is absent takes its default.
            where: What to call the section in an error, for example `project.yaml: split`.

        Raises:
            InputError: If a field is unknown, of the wrong type or out of range; the message names
                the field, the value and what is allowed.
        """
        try:
            return cls.model_validate(dict(raw))
        except ValidationError as error:
            known = ", ".join(cls.model_fields)
            unknown = any(item["type"] == "extra_forbidden" for item in error.errors())
            raise InputError(
                explain(error),
                where=where,
                remedy=f"Known fields here: {known}." if unknown else "",
            ) from error
