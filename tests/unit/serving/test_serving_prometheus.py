"""Alerts and dashboard, on what a real Prometheus reads of real servers and of a monitor."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from experiment_parts import PLAN, READING
from experiment_parts import rollout as experiment_rollout
from monitor_parts import BEGIN, HOUR, SPEC, Watch, drift, signal, worth
from needs import program
from prometheus_client.core import Metric
from running_process import RunningProcess, listens
from serving_process import ROW, Server, Start

from penstock.monitoring.exporter import served
from penstock.records.figures import AttributionShare, Volume
from penstock.records.intervention import Intervention
from penstock.records.monitoring import MonitorState
from penstock.records.rollout import Finding, Transition
from penstock.records.run_end import Outcome
from penstock.rollout.experiment import exporter as experiment_exporter
from penstock.rollout.experiment.exporter import Standing
from penstock.triggers import exporter as trigger_exporter
from penstock.triggers.database import count
from penstock.triggers.endings import Ending
from penstock.triggers.events import Event
from penstock.triggers.store import TriggerStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.xdist_group("serving-prometheus"),
]

MONITORING = Path(__file__).parents[3] / "manifests/components/monitoring"
POD = {"namespace": "penstock"}
FIRING = {
    ("PenstockServerErrors", "adult"),
    ("PenstockNotScraped", ""),
    ("PenstockUnseenValues", "adult"),
    ("PenstockMissingValues", "adult"),
    ("PenstockCanaryStuck", "adult"),
    ("PenstockDrifted", "adult"),
    ("PenstockChampionReturned", "adult"),
    ("PenstockRetrainRefused", "adult"),
    ("PenstockNotificationLost", "adult"),
    ("PenstockActionWaits", "adult"),
    ("PenstockActionFailed", "adult"),
    ("PenstockExperimentUnwatched", "adult"),
    ("PenstockExperimentDecided", "adult"),
    ("PenstockTriggerFailed", "adult"),
    ("PenstockTriggerGone", "adult"),
    ("PenstockTriggerRefusesAll", "adult"),
    ("PenstockExperimentHarm", "worse"),
    ("PenstockMonitorStopped", "worse"),
    ("PenstockTriggerStopped", "worse"),
    ("PenstockExperimentNotTrusted", "unseen"),
    ("PenstockDegraded", "worse"),
    ("PenstockMonitorBlind", "unseen"),
    ("PenstockMonitorStale", "unseen"),
}
"""Alert and service: what is wrong here, and nothing else."""


@dataclass(frozen=True)
class Prometheus:
    """Asks one by its HTTP API."""

    url: str

    def get(self, path: str, **parameters: Any) -> Any:
        answer = httpx.get(
            f"{self.url}/api/v1/{path}", params=parameters, trust_env=False, verify=False
        )
        if answer.status_code == 503:
            # It has begun to listen and is not ready: that is no answer in JSON.
            answer.raise_for_status()
        body = answer.json()
        assert body["status"] == "success", (parameters, body)
        assert not body.get("warnings"), (parameters, body)
        return body["data"]

    def alerts(self) -> set[tuple[str, str]]:
        found = self.get("alerts")["alerts"]
        return {(a["labels"]["alertname"], a["labels"].get("service", "")) for a in found}


def free_port() -> int:
    with contextlib.closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def rules() -> dict[str, Any]:
    """The rules, each of which is to fire at once."""
    spec: dict[str, Any] = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]
    for group in spec["groups"]:
        group["rules"] = [{k: v for k, v in r.items() if k != "for"} for r in group["rules"]]
    return spec


@contextlib.contextmanager
def prometheus(folder: Path, jobs: dict[str, list[tuple[int, dict[str, str]]]]) -> Iterator[str]:
    """Yield the URL of one that reads these ports every second."""
    found = program("prometheus", package="prometheus")
    (folder / "rules.json").write_text(json.dumps(rules()))
    scraped = [
        {
            "job_name": name,
            "static_configs": [
                {"targets": [f"127.0.0.1:{at}"], "labels": labels} for at, labels in targets
            ],
        }
        for name, targets in jobs.items()
    ]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.json"],
        "scrape_configs": scraped,
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    command = [found, f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def until(holds: Callable[[], bool], *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if holds():
                return
        time.sleep(0.3)
    raise TimeoutError


def watched() -> dict[str, MonitorState]:
    """What monitors of three services have concluded."""
    watch = Watch()
    watch.look(performance=worth(estimated=0.9, realized=0.9))
    watch.look(
        drift=drift(9, signal(), signal("gap: selection of A", kind="gap", excess=0.5)),
        performance=worth(estimated=0.9, realized=0.9),
        until=BEGIN,
        volume=Volume(since=BEGIN, until=BEGIN + HOUR, rows=7, usual=9, low=4, high=20, by="hour"),
        attributions=(AttributionShare(column="age", holdout=0.25, window=0.5),),
    )
    waits = Intervention(
        identity="i", number=1, version=1, reason="It is worse.", since=BEGIN, began=BEGIN, look=1,
        stage="retrain", waits="It waits for people to approve version 2.",
    )  # fmt: skip
    watch.state = watch.state.model_copy(update={"intervention": waits})
    worse = Watch()
    worse.look(drift=drift(9, signal()), performance=worth(realized=0.5), refused=3)
    unseen = Watch()
    unseen.look(rows=0, missing=("no rows came",))
    unseen.look(rows=0, missing=("no rows came",), hours=3)
    now = datetime.now(UTC)
    states = {"adult": watch.state, "worse": worse.state, "unseen": unseen.state}
    late = {"unseen": timedelta(days=1)}
    return {
        name: state.model_copy(update={"service": name, "time": now - late.get(name, timedelta())})
        for name, state in states.items()
    }


def tried() -> dict[str, Standing]:
    """What experiments of the three services show."""
    harm = Finding(rule="errors", verdict="fail", value=0.2, bound=0.01, sentence="It failed.")
    ended = tuple(
        Transition(sequence=1, time=datetime.now(UTC), phase=phase, weight=0, reason="", findings=f)
        for phase, f in (("rollback", (harm,)), ("done", ()))
    )
    distrusted = READING.model_copy(update={"verdict": "not trusted"})
    over = experiment_rollout(outcome="rolled_back", transitions=ended)
    return {
        "adult": Standing(experiment_rollout(), PLAN, READING, (harm,), driven=False),
        "worse": Standing(over, PLAN, READING, (harm,), driven=False),
        "unseen": Standing(experiment_rollout(), PLAN, distrusted, (), driven=True),
    }


def triggers(folder: Path) -> dict[str, TriggerStore]:
    """What triggers of the three services remember."""
    found = {name: TriggerStore(folder / f"{name}.db") for name in ("adult", "worse", "unseen")}
    for _ in range(3):
        released(found["worse"], "refused")
    return found


def released(store: TriggerStore, outcome: Outcome) -> None:
    store.take([Event(source="/shop", id=f"{outcome}-{time.time()}", type="sold")], now=time.time())
    begun = store.begin(now=time.time())
    assert begun is not None
    store.end(begun.number, now=time.time(), exit_code=None, ending=Ending(outcome, "So it was."))


def acted(state: MonitorState) -> MonitorState:
    """The state after a champion was returned, models refused, a run failed, a message lost."""
    actions = {**state.totals.actions, "returned": 1, "refused": 1, "failed": 1}
    totals = state.totals.model_copy(update={"actions": actions, "undelivered": 1})
    return state.model_copy(update={"totals": totals})


@pytest.fixture(scope="module")
def read(
    trained: Path, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that has read a canary of a faulty version, and what its monitor says."""
    home = tmp_path_factory.mktemp("prometheus")
    kept = ["--capture", str(home / "spool"), "--capture-to", str(home / "store")]
    stable = start(trained, *kept, "--capture-seconds", "1")
    faulty = start(trained, "--version", "4", fault="errors")
    states, experiments, stores = watched(), tried(), triggers(home)
    released(stores["adult"], "released")
    stores["adult"].take([Event(source="/shop", id="waits", type="sold")], now=time.time())

    def further(name: str) -> Iterator[Metric]:
        yield from experiment_exporter.families(experiments[name], service=name)
        at_work = name != "adult"
        yield from trigger_exporter.families(stores[name], service=name, at_work=at_work)

    over = threading.Event()
    with contextlib.ExitStack() as stack:
        proxy, counted = stack.enter_context(experiment_proxy(home, stable, faulty))
        asking = threading.Thread(target=ask, args=(stable, faulty, proxy, over))
        ports = [
            stack.enter_context(
                served(
                    0,
                    read=lambda name=name: states[name],
                    spec=SPEC,
                    further=partial(further, name),
                )
            )
            for name in states
        ]
        jobs = {
            "penstock/penstock-models": [
                (at, POD | {"pod": f"pod-{number}"})
                for number, at in enumerate((stable.port, faulty.port, free_port()))
            ],
            "penstock/penstock-experiments": [(counted, POD | {"pod": "proxy"})],
            "penstock/monitor": [(port, POD) for port in ports],
        }
        found = Prometheus(stack.enter_context(prometheus(home, jobs)))
        scraped = 'penstock_monitor_looks_total{service="adult"}'
        until(lambda: bool(found.get("query", query=scraped)["result"]))
        stack.callback(asking.join)
        stack.callback(over.set)
        asking.start()
        states["adult"] = acted(states["adult"])
        stores["adult"].refused(3)
        with stores["adult"].database.change() as db:
            count(db, "failed", 1)
        # What is missing is for the test to say.
        with contextlib.suppress(TimeoutError):
            until(lambda: found.alerts() == FIRING)
        yield found


@contextlib.contextmanager
def experiment_proxy(home: Path, stable: Server, faulty: Server) -> Iterator[tuple[int, int]]:
    """Yield the ports of a pod of an experiment's proxy: for users, and for Prometheus."""
    arms = {"stable": (3, stable), "candidate": (4, faulty)}
    experiment = {"salt": "s", "header": "x-user-id", "labels": False}
    grids = {"latency": [0.1], "scores": [0.5]}
    table = {
        "arms": [
            {
                "role": role, "version": version, "identity": role,
                "host": "127.0.0.1", "port": server.port,
            }
            for role, (version, server) in arms.items()
        ],
        "weight": 50,
        "routing": {
            "mirror": 0.0, "sticky_header": "", "choice_header": "", "grids": grids,
            "experiment": experiment,
        },
    }  # fmt: skip
    port, health = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "penstock.rollout.proxy.pod", f"--table={json.dumps(table)}"),
        *("--service=adult", "--experiment=e1", f"--port={port}", f"--health-port={health}"),
        *(f"--spool={home / 'proxy'}", f"--to=file://{home / 'events'}"),
    ]
    with RunningProcess(command, log=home / "proxy.log") as process:
        process.wait_until(lambda: listens(health) and listens(port), seconds=60)
        yield port, health


def ask(stable: Server, faulty: Server, proxy: int, over: threading.Event) -> None:
    """Send rows that training did not see, and labels; what is refused, and what fails."""
    odd = ROW | {"job": "a level nobody saw", "hours per-week": None}
    number = 0
    url = f"http://127.0.0.1:{proxy}"
    with httpx.Client(base_url=url, trust_env=False, verify=False) as users:
        while not over.wait(0.2):
            number += 1
            answer = stable.predict(*[odd] * 20, x_request_id=f"r-{number}")
            assert answer.status_code == 200, answer.text
            assert stable.predict({"age": "old"}).status_code == 400
            faulty.predict(ROW)
            users.post(
                "/v1/models/adult:predict",
                json={"instances": [ROW]},
                headers={"x-user-id": f"u{number}"},
            )
            label = {"request_id": f"r-{number}", "row": 0, "label": "yes"}
            stable.client.post("/v1/models/adult:feedback", json={"labels": [label]})


def test_what_is_wrong_is_reported_and_nothing_else(read: Prometheus) -> None:
    assert read.alerts() == FIRING
    for group in read.get("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
    (drifted,) = (
        a for a in read.get("alerts")["alerts"] if a["labels"]["alertname"] == "PenstockDrifted"
    )
    assert "is false at most 1 times a year" in drifted["annotations"]["description"]


def queries() -> list[tuple[str, str]]:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return [(p["title"], target["expr"]) for p in panels for target in p.get("targets", ())]


def test_each_query_of_the_dashboard_is_answered(read: Prometheus) -> None:
    names = set(read.get("label/__name__/values"))
    chosen = {"$namespace": ".*", "$service": "adult", "$__rate_interval": "1m"}
    now = time.time()
    assert len(queries()) > 60
    for title, query in queries():
        for variable, value in chosen.items():
            query = query.replace(variable, value)
        assert "$" not in query, title
        assert set(re.findall(r"\b(?:penstock|process)_\w+", query)) <= names, title
        found = read.get("query_range", query=query, start=now - 5, end=now, step=1)
        assert found["result"], (title, query)


def test_its_variables_offer_what_there_is(read: Prometheus) -> None:
    match = {"match[]": "penstock_model_info"}
    assert read.get("label/namespace/values", **match) == ["penstock"]
    assert read.get("label/model/values", **match) == ["adult"]
