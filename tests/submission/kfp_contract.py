"""KFP's own contract, from the models of its OpenAPI: unknown fields and types are errors."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import kfp_server_api


class ContractError(AssertionError):
    """A body that is not what KFP's API says."""


def check(kind: str, data: Any, *, where: str = "") -> Any:
    """Return `data` if it is a JSON form of the model `kind`, to the last field.

    Raises:
        ContractError: With the path of what is not.
    """
    where = where or kind
    if listed := re.fullmatch(r"list\[(.+)\]", kind):
        _is(data, list, where)
        for index, item in enumerate(data):
            check(listed[1], item, where=f"{where}[{index}]")
    elif mapped := re.fullmatch(r"dict\(str, (.+)\)", kind):
        _is(data, dict, where)
        for key, value in data.items():
            check(mapped[1], value, where=f"{where}.{key}")
    elif kind in ("str", "int", "bool", "float"):
        _is(data, {"str": str, "int": int, "bool": bool, "float": (int, float)}[kind], where)
    elif kind == "datetime":
        _is(data, str, where)
        datetime.fromisoformat(data)
    elif kind != "object":
        _model(kind, data, where)
    return data


def _model(kind: str, data: Any, where: str) -> None:
    model = getattr(kfp_server_api, kind)
    if not model.openapi_types:
        if data not in model.allowable_values:
            raise ContractError(f"{where}: {data!r} is none of {model.allowable_values}")
        return
    _is(data, dict, where)
    fields = {model.attribute_map[name]: type_ for name, type_ in model.openapi_types.items()}
    for key, value in data.items():
        if key not in fields:
            raise ContractError(f"{where}: {kind} has no field {key!r}")
        check(fields[key], value, where=f"{where}.{key}")


def _is(data: Any, type_: Any, where: str) -> None:
    if not isinstance(data, type_) or (isinstance(data, bool) and type_ is not bool):
        raise ContractError(f"{where}: {data!r} is not a {type_}")
