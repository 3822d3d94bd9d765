"""The ground of every section of the project file: documented fields, defaults that work."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from penstock.errors import FormerNameWarning, InputError
from penstock.records.base import explain


class Spec(BaseModel):
    """A section of the project file. Every field has a description and, where it can, a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    null_sections: ClassVar[bool] = True
    """Whether a section that is null has its defaults; not where null switches something off."""

    FORMER: ClassVar[Mapping[str, str]] = {}
    """Fields by the name that an earlier release gave them; they are read under both."""

    @model_validator(mode="before")
    @classmethod
    def _as_declared(cls, raw: Any) -> Any:
        """Give fields their present names, and leave out those that are null.

        A field may be null where that can only mean that nothing is written there: in YAML a
        section is null once every line in it is commented out, and so is a list.
        """
        if not isinstance(raw, Mapping):
            return raw
        return {
            key: value
            for key, value in cls._with_present_names(raw).items()
            if value is not None or not cls._empty(key)
        }

    @classmethod
    def _with_present_names(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        found = [former for former in cls.FORMER if former in raw]
        if not found:
            return raw
        fields = dict(raw)
        for former in found:
            field, value = cls.FORMER[former], fields.pop(former)
            if field in fields and fields[field] != cls.model_fields[field].get_default():
                raise ValueError(f"{former} is the former name of {field}: give one of them")
            fields[field] = value
            warnings.warn(
                f"the setting {former} is called {field} now; the former name is still read",
                FormerNameWarning,
                stacklevel=2,
            )
        return fields

    @classmethod
    def _empty(cls, key: str) -> bool:
        """Return whether null in a field means the same as leaving it out."""
        field = cls.model_fields.get(key)
        if field is None:
            return False
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Spec):
            return cls.null_sections
        return field.get_default(call_default_factory=True) in ((), {}, [])

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
            unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
            known = _fields_at(cls, unknown[0][:-1]) if unknown else ()
            raise InputError(
                explain(error),
                where=where,
                remedy=f"Known fields here: {', '.join(known)}." if known else "",
            ) from error


def _fields_at(kind: Any, place: Sequence[int | str]) -> tuple[str, ...]:
    """Return the fields of the section at a place below another; none if it is not one."""
    for part in place:
        if get_origin(kind) in (dict, Mapping):
            kind = get_args(kind)[-1]
        elif isinstance(part, str):
            found = section_of(kind)
            if found is None or part not in found.model_fields:
                return ()
            kind = found.model_fields[part].annotation
    found = section_of(kind)
    return tuple(found.model_fields) if found is not None else ()


def section_of(kind: Any) -> type[Spec] | None:
    """Return the section in a type like `Section`, `Section | None` or `tuple[Section, ...]`."""
    if isinstance(kind, type) and issubclass(kind, Spec):
        return kind
    return next(filter(None, map(section_of, get_args(kind))), None)
