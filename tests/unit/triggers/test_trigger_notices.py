"""Every kind of message of a trigger, as real receivers get it."""

from __future__ import annotations

from pathlib import Path

import pytest
from receivers import receivers
from trigger_parts import Shop, with_path


def test_each_place_gets_how_each_release_ended_and_that_none_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_path(monkeypatch)
    with receivers(tmp_path) as received:
        shop = Shop(tmp_path / "shop", notify=received.spec)
        outcomes = ("released", "failed", "refused", "rolled_back", "refused")
        for number, outcome in enumerate(outcomes):
            (shop.home / "outcome").write_text(outcome)
            shop.send(f"a-{number}", f"b-{number}")
            shop.settle()
        for _ in range(2):
            shop.trigger.step()
        received.require_same()
    assert received.types == [
        f"trigger.{kind}"
        for kind in ("released", "failed", "refused", "rolled_back", "refused", "waiting")
    ]
    texts = [event["data"]["text"] for event in received.events]
    assert all("Started by 2 events: sold (2)." in text for text in texts[:-1])
    assert "shop: not released, the run failed. It was failed." in texts[1]
    assert "Then: penstock trigger --resume." in texts[-1]
