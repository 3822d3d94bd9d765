"""Every kind of message of the monitor, as real receivers get it: on a laptop and on a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_shop import ClusterShop, cluster_shop
from receivers import Received, receivers
from watched_shop import BEGIN, Shop

from penstock.monitoring.look import Monitor
from penstock.records.monitoring import MonitorState, Notice

KINDS = (
    "drifted", "degraded", "blind", "recovered", "suggested", "harm", "returned", "recalled",
    "retrained", "refused", "failed", "waiting",
)  # fmt: skip


def waiting_in(state: MonitorState) -> MonitorState:
    """The state with a message of each kind that is to be delivered."""
    notices = tuple(
        Notice(
            identity=f"shop-{kind}", event=kind, text=f"shop: {kind}. Page: http://x", time=BEGIN
        )
        for kind in KINDS
    )
    return state.model_copy(update={"outbox": notices})


def delivered(monitor: Monitor, state: Callable[[], MonitorState], received: Received) -> None:
    """Let the monitor deliver a message of each kind, and look at what came."""
    before = len(received.events)
    with monitor.held():
        monitor.folder.write(waiting_in(state()))
        monitor.look()
    received.require_same()
    assert received.types[before:] == [f"monitor.{kind}" for kind in KINDS]
    subjects = [mail["Subject"] for mail in received.mails][before:]
    assert subjects == [f"shop: {kind}" for kind in KINDS]
    assert [line["state"] for line in received.lines][before:] == list(KINDS)
    assert state().outbox == ()
    assert state().totals.undelivered == 0


def test_every_kind_is_here() -> None:
    described = Notice.model_fields["event"].description or ""
    assert set(re.findall(r"\w+", described)) - {"or"} == set(KINDS)


def test_on_a_laptop_each_place_gets_every_kind(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    with receivers(tmp_path) as received:
        shop.notify = received.spec
        shop.serve()
        shop.look()
        delivered(shop.monitor, lambda: shop.state, received)
        event = received.events[0]
    assert (event["specversion"], event["source"]) == ("1.0", "/penstock/monitor/shop")
    assert event["data"]["verdict"]["kind"] == "healthy"


@pytest.mark.slow
def test_on_a_cluster_each_place_gets_every_kind(tmp_path: Path) -> None:
    with receivers(tmp_path) as received, cluster_shop(tmp_path, notify=received.spec) as site:
        site.serve()
        site.look()
        delivered(site.monitor, lambda: site.state, received)


@pytest.mark.slow
def test_what_is_found_is_told_with_its_cause_and_page_in_both_places(tmp_path: Path) -> None:
    with receivers(tmp_path) as received, cluster_shop(tmp_path, notify=received.spec) as site:
        for look in (site.look, site.shop.look):
            site.shop.notify = received.spec
            _drift_and_blindness(site, look)
            page = site.monitor.folder.link if look == site.look else site.shop.monitor.folder.link
            assert all(f"Page: {page}" in event["data"]["text"] for event in received.events)
            received.require_same()
            assert received.types[0] == "monitor.drifted"
            assert "The data of version 1 changed: " in received.events[0]["data"]["text"]
            assert received.types[-1] == "monitor.blind"
            for place in (received.hooks, received.events, received.server.mails):
                place.clear()
            received.file.unlink()


def _drift_and_blindness(site: ClusterShop, look: Callable[..., object]) -> None:
    """Rows that have moved, then none."""
    site.serve()
    look()
    site.serve(shift=1.0)
    look()
    look(hours=9)
