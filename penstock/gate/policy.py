"""The policy: one document that a reviewer can read. Its fields are those of the rules."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, create_model, model_validator

from penstock.common import files
from penstock.errors import FormerNameWarning, InputError
from penstock.gate.approval import ApprovalSpec
from penstock.gate.rule import PolicyBase, blocks
from penstock.gate.rules import RULES
from penstock.metrics.bounds import check_margin
from penstock.metrics.descriptions import SCALES, Scale
from penstock.records.model import Task
from penstock.records.spec import Spec

_AS_WRITTEN = sorted(RULES, key=lambda rule: (rule.policy_order or rule.order, rule.name))

_REMEDY = (
    "Let baseline block, or give a floor beyond what guessing reaches, such as roc_auc at_least "
    "0.7. without_quality: accepted lets a policy do without"
)

if TYPE_CHECKING:
    _Rules = PolicyBase
else:
    _Rules = create_model(
        "_Rules", __base__=PolicyBase, **{rule.name: rule.field for rule in _AS_WRITTEN}
    )

UNREADABLE = "Correct the path; docs/write-your-policy.md says what such a file holds."
"""What to do about a file that is not there, or that this account may not read."""


class Policy(_Rules):
    """What a candidate must show to be released. A rule that is null is off.

    A rule's settings are `rule.of(policy)`: which fields there are depends on the rules.

    Example:
        >>> policy = Policy.parse({"floors": [{"metric": "roc_auc", "at_least": 0.8}]}, where="x")
        >>> policy.describe()["floor roc_auc"]
        'roc_auc on the holdout must be at least 0.8.'
    """

    model_config = ConfigDict(defer_build=False)

    without_quality: Literal["accepted"] | None = Field(
        default=None,
        description="At least one rule that blocks must be one that a model which is no better "
        "than guessing does not pass, and one such rule must have passed. accepted: neither is "
        "required, so that any model may be let in",
    )
    approval: ApprovalSpec = Field(
        default=ApprovalSpec(), description="Who must approve, besides the rules"
    )

    @classmethod
    def decided_on(cls, raw: Mapping[str, Any], *, where: str) -> Policy:
        """Return a policy that a decision was made on.

        Whether it can refuse a bad model was checked then, if at all: `parse` checks a new one.

        Args:
            raw: Field values by name.
            where: What to call it in an error.

        Raises:
            InputError: As `parse` does.
        """
        with warnings.catch_warnings():
            # A record keeps the former names of settings; there is nobody who is to change them.
            warnings.simplefilter("ignore", FormerNameWarning)
            found = cls.parse({**raw, "without_quality": "accepted"}, where=where)
        return found.model_copy(update={"without_quality": raw.get("without_quality")})

    @classmethod
    def load(cls, path: Path) -> Policy:
        """Read a policy from a YAML file of its own.

        Raises:
            InputError: If the file is absent, not YAML, gives a key twice, or a field is unknown,
                of the wrong type or out of range; the message names the field, the value and what
                is allowed.
        """
        from penstock.common.yaml_file import read_mapping

        return cls.parse(read_mapping(path, what="policy", remedy=UNREADABLE), where=str(path))

    @model_validator(mode="after")
    def _refuses(self) -> Policy:
        lacking = self.lacks_quality()
        if lacking:
            raise ValueError(f"without_quality: {lacking}. {_REMEDY}")
        return self

    def digest(self) -> str:
        """Return `sha256:<hex>` of the policy with its defaults filled in."""
        return files.digest_of_text(files.canonical_json(self.recorded()))

    def recorded(self) -> dict[str, Any]:
        """Return the policy as it is recorded, with its defaults filled in: what is digested."""
        return self.model_dump(mode="json", by_alias=True)

    def text(self) -> str:
        """Return the policy as YAML, with its defaults filled in and without what it does not ask.

        Read again, it is the same policy, with the same digest.
        """
        import yaml

        return yaml.safe_dump(
            _shown(self), sort_keys=False, allow_unicode=True, default_flow_style=False, width=96
        )

    def describe(self) -> dict[str, str]:
        """Return in words the requirement of every result that a decision on it may hold."""
        descriptions: dict[str, list[str]] = {}
        for rule in RULES:
            for settings in rule.settings(self):
                for name, words in rule.describe(settings):
                    descriptions.setdefault(name, []).append(words)
        return {name: " ".join(words) for name, words in descriptions.items()}

    def quality_rules(self, *, task: Task | None = None) -> tuple[str, ...]:
        """Return the blocking rules that refuse a model which is no better than guessing.

        Not among them are those that such a model passes (leakage, fairness, stability, calibration
        error, recall, the server), those of another severity, and those that do not apply to the
        first model, as the champion.

        Args:
            task: What the model does; None: not known yet.

        Returns:
            Their names as a decision has them, for example `baseline` or `floor roc_auc`.
        """
        named = (
            name
            for rule in RULES
            for settings in rule.settings(self)
            if blocks(settings)
            for name in rule.quality(settings, task=task)
        )
        return tuple(dict.fromkeys(named))

    def lacks_quality(self, *, task: Task | None = None) -> str:
        """Return what to say of a policy that has no rule of quality; empty: it has one.

        Args:
            task: See `quality_rules`.
        """
        if self.without_quality == "accepted" or self.quality_rules(task=task):
            return ""
        blocking = ", ".join(
            rule.name for rule in _AS_WRITTEN if any(map(blocks, rule.settings(self)))
        )
        what = (
            f"what blocks is {blocking}"
            if blocking
            else "nothing blocks, so that nothing can be approved"
        )
        kind = f" of a {task} task" if task else ""
        return f"no rule refuses a model{kind} that is no better than guessing: {what}"

    def check(self, *, columns: Sequence[str], target: str, task: Task, metric: str) -> None:
        """Refuse a policy that does not fit a table and what is learned from it.

        Args:
            columns: The table's columns.
            target: The one that is predicted.
            task: What the model does.
            metric: The primary metric, in whose units margins are.

        Raises:
            InputError: If a rule names a column that is not there, or as `check_fit` says.
        """
        for rule in RULES:
            for settings in rule.settings(self):
                rule.check_columns(settings, columns, target=target)
        self.check_fit(task=task, metric=metric)

    def check_fit(self, *, task: Task, metric: str) -> None:
        """Refuse a policy that can never be met, or never fails, for want of what the task has.

        Args:
            task: What the model does.
            metric: The primary metric, in whose units margins are.

        Raises:
            InputError: If a floor's metric is not defined for the task, a margin is as wide as the
                whole range of the primary metric, or no rule that blocks can refuse a bad model of
                the task; the message names the field.
        """
        lacking = self.lacks_quality(task=task)
        if lacking:
            raise InputError(lacking, where="gate.without_quality", remedy=f"{_REMEDY}.")
        for rule in RULES:
            several = isinstance(getattr(self, rule.name), tuple)
            for number, settings in enumerate(rule.settings(self)):
                where = f"gate.{rule.name}.{number}" if several else f"gate.{rule.name}"
                rule.check_fit(settings, where=where, task=task)
        if metric in SCALES:
            self.check_margins(SCALES[metric])

    def check_margins(self, metric: Scale) -> None:
        """Refuse margins as wide as the whole range of the primary metric.

        Raises:
            InputError: If one is; the message names the field.
        """
        for rule in RULES:
            for settings in rule.settings(self):
                for field, margin, outcome in rule.margins(settings):
                    try:
                        check_margin(field, margin, metric=metric, outcome=outcome)
                    except ValueError as error:
                        raise InputError(
                            str(error),
                            where=f"gate.{rule.name}.{field}",
                            remedy="It is in units of the primary metric.",
                        ) from error


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
