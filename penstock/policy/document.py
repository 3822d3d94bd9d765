"""The policy as a document of its own: read strictly, written for a reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from penstock.common.yaml_file import read_mapping
from penstock.policy.spec import Policy
from penstock.records.spec import Spec


def load(path: Path) -> Policy:
    """Read a policy from a YAML file of its own.

    Raises:
        InputError: If the file is absent, not YAML, gives a key twice, or a field is unknown, of
            the wrong type or out of range; the message names the field, the value and what is
            allowed.
    """
    raw = read_mapping(path, what="policy")
    return Policy.parse(raw, where=str(path))


def text_of(policy: Policy) -> str:
    """Return the policy as YAML, with its defaults filled in and without what it does not ask.

    Read again, it is the same policy, with the same digest.
    """
    return yaml.safe_dump(
        _shown(policy), sort_keys=False, allow_unicode=True, default_flow_style=False, width=96
    )


def _shown(value: Any) -> Any:
    if isinstance(value, Spec):
        fields = type(value).model_fields
        held = {name: getattr(value, name) for name in fields}
        return {
            name: _shown(content)
            for name, content in held.items()
            # A null that is not the default says something: the default would ask.
            if content not in (None, (), "") or content != fields[name].default
        }
    if isinstance(value, tuple):
        return [_shown(item) for item in value]
    return value
