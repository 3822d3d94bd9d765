"""The model card as the Hugging Face Hub reads it: metadata in YAML, then the card itself.

Format: Hugging Face, "Model cards", section on metadata, with the results in `model-index`.
"""

from __future__ import annotations

from typing import Any

import yaml

from penstock.passport.facts import Facts

# Identifiers of licenses that the Hub knows, of those that a team is likely to state.
_LICENSES = frozenset(
    {
        "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "mpl-2.0",
        "gpl-3.0", "lgpl-3.0", "agpl-3.0", "eupl-1.2", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
        "cc-by-nc-4.0",
    }
)  # fmt: skip


def hub_card(facts: Facts) -> str:
    """Return `README.md` of a model repository: front matter and the model card.

    Args:
        facts: What the evidence says.
    """
    front = yaml.safe_dump(metadata(facts), sort_keys=False, allow_unicode=True)
    digests = "\n".join(f"- {what}: `{digest}`" for what, digest in facts.digests.items())
    card = facts.card or (
        f"# {facts.version.name}: {facts.model.target}\n\nNo model card was kept with it.\n"
    )
    return f"---\n{front}---\n\n{card}\n## Digests of the evidence\n\n{digests}\n"


def metadata(facts: Facts) -> dict[str, Any]:
    """Return the front matter."""
    regression = facts.model.task == "regression"
    kind = "tabular-regression" if regression else "tabular-classification"
    found: dict[str, Any] = {
        "library_name": "penstock",
        "pipeline_tag": kind,
        **_license(facts.owner.license),
        "tags": ["tabular", facts.model.task, facts.model.name, "penstock"],
    }
    if facts.evaluation is not None:
        measured = facts.evaluation.candidate.metrics
        found["metrics"] = list(measured)
        found["model-index"] = [
            {
                "name": facts.version.name,
                "results": [
                    {
                        "task": {"type": kind, "name": facts.model.task},
                        "dataset": {
                            "type": "holdout",
                            "name": f"holdout of {facts.version.name}",
                            "split": "holdout",
                            "revision": facts.evidence.holdout,
                        },
                        "metrics": [
                            {"type": name, "name": name, "value": estimate.value}
                            for name, estimate in measured.items()
                        ],
                    }
                ],
            }
        ]
    return found


def _license(stated: str) -> dict[str, str]:
    text = stated.strip()
    if not text:
        return {}
    if text.lower() in _LICENSES:
        return {"license": text.lower()}
    return {"license": "other", "license_name": text}
