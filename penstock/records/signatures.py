"""Where a registered model's folder keeps the signatures on it."""

from __future__ import annotations

FOLDER = "signatures"
"""Folder inside a registered model's folder that holds them."""

MODEL = f"{FOLDER}/model.sig"
"""A signature on every other file, as OpenSSF model-signing writes it."""

DECISION = f"{FOLDER}/decision.sig"
"""The decision about these files: a signed in-toto statement."""

APPROVALS = f"{FOLDER}/approvals.sig"
"""The approvals that people gave to these files, where the policy asks for any: another one."""

FILES = frozenset({MODEL, DECISION, APPROVALS})
"""What no digest of the model covers, these files and no other: they are about the digests."""
