"""The ground of every record: a checked, immutable value with one way to JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.common import files
from penstock.errors import InputError, IntegrityError
from penstock.redaction import redact

M = TypeVar("M", bound=BaseModel)


def explain(error: ValidationError) -> str:
    """Return pydantic's findings as one line: each field, what is wrong with it, the value."""
    findings = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "the whole"
        # Redacted before it is cut: half an address does not look like one.
        value = "" if item["type"] == "missing" else f", got {redact(repr(item['input'])):.80}"
        message = item["msg"].removeprefix("Value error, ")
        findings.append(f"{field}: {message}{value}")
    return "; ".join(findings)


def renamed(given: Any, **former: str) -> Any:
    """Return a record's fields, those that an earlier release wrote under their present names.

    Args:
        given: What a validator of mode `before` is given.
        **former: The former name of a field, by its present one.

    Example:
        >>> renamed({"drill": "slow"}, fault_injection="drill")
        {'fault_injection': 'slow'}
    """
    if not isinstance(given, dict):
        return given
    present = {name: field for field, name in former.items() if field not in given}
    return {present.get(name, name): value for name, value in given.items()}


def restored(kind: type[M], kept: Mapping[str, Any] | str, *, where: str) -> M:
    """Return a value that a state or a note holds as plain fields.

    Args:
        kind: What it is of.
        kept: Its fields, or the JSON of them.
        where: What holds it, for errors.

    Raises:
        IntegrityError: If these are not its fields: another release of Penstock wrote them, or they
            were altered.

    Example:
        >>> class Count(Value):
        ...     rows: int
        >>> restored(Count, {"rows": 3}, where="state.json")
        Count(rows=3)
    """
    try:
        if isinstance(kept, str):
            return kind.model_validate_json(kept)
        return kind.model_validate(kept)
    except ValidationError as error:
        raise IntegrityError(
            f"what is kept there is not what this release of Penstock keeps: {explain(error)}",
            where=where,
            remedy="Go on with the release that wrote it, or move it away to begin anew.",
        ) from error


class Value(BaseModel):
    """An immutable part of a record; a field that is not declared is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Record(Value):
    """A versioned JSON document that one step writes and later steps rely on.

    A subclass names its `KIND` and `VERSION`; both are written into the file and checked when it
    is read, so a record of another kind or of a newer release is refused by name.

    Example:
        >>> class Note(Record):
        ...     KIND = "note"
        ...     text: str
        >>> Note(text="kept").write(Path("note.json"))
        >>> Note.read(Path("note.json")).text
        'kept'
        >>> Note(text="kept").digest()
        'sha256:...'
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1

    def payload(self) -> dict[str, Any]:
        """Return the record as JSON-ready values, its kind and version first."""
        return {
            "record": f"penstock/{self.KIND}",
            "schema_version": self.VERSION,
            # By alias: a field may have another name in the record than here.
            **self.model_dump(mode="json", by_alias=True),
        }

    def digest(self) -> str:
        """Return `sha256:<hex>` of the record's canonical JSON."""
        return files.digest_of_text(files.canonical_json(self.payload()))

    def write(self, path: Path) -> None:
        """Write the record as indented JSON, whole or not at all."""
        files.write_text(path, self.dumps())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record back.

        Raises:
            InputError: If the file is absent, not JSON, or does not have the record's fields.
            IntegrityError: If it is a record of another kind or version.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"the {cls.KIND} record cannot be read: {error.strerror}", where=str(path)
            ) from error
        except UnicodeDecodeError as error:
            raise _not_json(cls.KIND, error, where=str(path)) from error
        return cls.loads(text, where=str(path))

    @classmethod
    def loads(cls, text: str, *, where: str) -> Self:
        """Build a record from its JSON; `where` is named in an error, of `read`'s kinds."""
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise _not_json(cls.KIND, error, where=where) from error
        return cls.parse(raw, where=where)

    def dumps(self) -> str:
        """Return the record as indented JSON."""
        return json.dumps(self.payload(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def parse(cls, raw: object, *, where: str) -> Self:
        """Build a record from what `payload` returned; `where` is named in an error."""
        if not isinstance(raw, dict):
            raise InputError(f"a {cls.KIND} record is a JSON object", where=where)
        fields = dict(raw)
        kind, version = fields.pop("record", None), fields.pop("schema_version", None)
        if kind != f"penstock/{cls.KIND}" or version != cls.VERSION:
            raise IntegrityError(
                f"expected record penstock/{cls.KIND} version {cls.VERSION}, "
                f"found {kind!r} version {version!r}",
                where=where,
            )
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise InputError(
                f"not a valid {cls.KIND} record: {explain(error)}", where=where
            ) from error


def _not_json(kind: str, error: ValueError, *, where: str) -> InputError:
    return InputError(f"the {kind} record is not JSON: {error}", where=where)
