"""What people get while a release waits for them, as real receivers get it."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fresh_store import fresh_store
from receivers import receivers
from rollout_world import World

from penstock.errors import InputError
from penstock.records.release import Registration
from penstock.rollout import control, notices
from penstock.rollout.notices import teller

REGISTRATION = Registration(
    name="loans", version=4, uri="models:/loans/4", model="sha256:1", decision="sha256:2",
    dataset="xxh3:0", mlflow_run="run",
)  # fmt: skip


@pytest.mark.parametrize("of", ["approval", "hold"])
def test_each_place_gets_it_with_its_cause_and_its_page(tmp_path: Path, of: str) -> None:
    with receivers(tmp_path) as received:
        tell = teller(
            received.spec.model_dump(mode="json"),
            of=of,
            registration=REGISTRATION,
            run="run-7",
            tracking_uri="http://ann:secret@mlflow.example:5000/",
        )
        tell("version 4 waits for a person.")
        tell("version 4 waits for a person.")
        received.require_same()
        first, again = received.events
    # Told again, after a kill, it is the same message.
    assert first["id"] == again["id"] == f"loans-4-run-7-waiting-{of}"
    assert first["type"] == "io.penstock.release.waiting"
    assert first["data"]["for"] == of
    page = "http://mlflow.example:5000/#/models/loans/versions/4"
    assert first["data"]["text"].endswith(f"loans: version 4 waits for a person. Page: {page}")


def test_a_store_in_a_file_has_the_projects_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    store = fresh_store(tmp_path)

    def told() -> str:
        teller(
            {"file": str(tmp_path / "told")}, of="hold", registration=REGISTRATION, run="r",
            tracking_uri=store,
        )("it waits.")  # fmt: skip
        return (tmp_path / "told").read_text().splitlines()[-1]

    assert "Page" not in told()
    (tmp_path / "index.html").touch()
    assert (tmp_path / "index.html").as_uri() in told()


def test_a_message_that_no_place_accepted_is_sent_again_but_not_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "full"
    blocked.touch()
    tell = teller(
        {"file": str(blocked / "told")}, of="hold", registration=REGISTRATION, run="r",
        tracking_uri="http://mlflow.example",
    )  # fmt: skip
    assert tell("it waits.") is False
    assert f"{blocked}/told could not be written" in capsys.readouterr().out
    # A place that does not respond for half a minute must not cost that at each look.
    assert tell("it waits.") is False
    assert capsys.readouterr().out == ""
    blocked.unlink()
    now = time.monotonic()
    monkeypatch.setattr(notices, "time", SimpleNamespace(monotonic=lambda: now + 61))
    assert tell("it waits.") is True
    assert "it waits." in (blocked / "told").read_text()


def test_one_place_that_accepts_a_message_is_enough(tmp_path: Path) -> None:
    tell = teller(
        {"file": str(tmp_path / "told"), "cloudevents": "http://127.0.0.1:9"}, of="hold",
        registration=REGISTRATION, run="r", tracking_uri="http://mlflow.example",
    )  # fmt: skip
    assert tell("it waits.") is True


def test_places_that_are_none_are_refused_before_anything_waits(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="notify"):
        teller({"webhok": "x"}, of="hold", registration=REGISTRATION, run="r", tracking_uri="")


@pytest.mark.slow
@pytest.mark.long
def test_a_canary_that_holds_is_told_with_its_cause_and_goes_on(
    tmp_path: Path, world: World
) -> None:
    assert world.release(2).outcome == "promoted"
    steps = [{"weight": 50, "min_samples": 50, "max_wait": 120, "hold": True}]
    with receivers(tmp_path) as received:
        notify = world.teller(received.spec, 3)

        def tell(text: str) -> bool:
            accepted = notify(text)
            control.approve(world.place())
            return accepted

        assert world.release(3, canary={"steps": steps}, tell=tell).outcome == "promoted"
        received.require_same()
    (event,) = received.events
    assert event["type"] == "io.penstock.release.waiting"
    assert "version 2 has passed every rule at 50 % of the requests" in event["data"]["text"]
    assert "penstock rollout approve" in event["data"]["text"]
