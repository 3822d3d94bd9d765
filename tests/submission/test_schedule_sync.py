"""`penstock schedule sync`: recurring runs are what a file in Git says."""

from __future__ import annotations

import re

import pytest
import yaml
from kfp_server import Fault
from running_process import silent_port

RECURRING = "/apis/v2beta1/recurringruns"
WATCHED = {
    "deployment": {"router": "kserve"},
    "monitoring": {"state": "s3://bucket/monitor", "every": "30m"},
}


@pytest.fixture
def sync(kfp_server, penstock, project_file):
    """`sync({"retrain": {…}}, "--dry-run")` writes the file and runs the command."""

    def run(schedules, *arguments: object, project=None):
        path = project_file(**(WATCHED if project is None else project))
        if schedules is not None:
            path.with_name("schedules.yaml").write_text(yaml.safe_dump({"schedules": schedules}))
        return penstock("schedule", "sync", path, *arguments, "--host", kfp_server.host)

    return run


def names(server) -> list[str]:
    return sorted(each["display_name"] for each in server.recurring.values())


def called(server, key: str) -> dict:
    (found,) = [each for each in server.recurring.values() if f"-{key}-" in each["display_name"]]
    return found


RETRAIN = {"cron": "30 2 * * mon", "parameters": {"training": {"trials": 5}, "task": "binary"}}
LOOK = {"runs": "monitor", "service_account": "penstock-watcher"}


def test_what_is_declared_comes_to_be_stays_and_goes(sync, kfp_server) -> None:
    planned = sync({"retrain": RETRAIN, "look": LOOK}, "--dry-run")
    assert planned.code == 0, planned.err
    assert len(re.findall(r"^create  wine-(?:look|retrain)-[0-9a-f]{12}", planned.out, re.M)) == 2
    assert planned.out.endswith("Nothing was changed (--dry-run).\n")
    assert {method for method, *_ in kfp_server.requests} == {"GET"}

    made = sync({"retrain": RETRAIN, "look": LOOK})
    assert made.out.endswith("2 created.\n"), made.err
    retrain, look = called(kfp_server, "retrain"), called(kfp_server, "look")
    assert retrain["trigger"] == {"cron_schedule": {"cron": "0 30 2 * * mon"}}
    assert retrain["runtime_config"]["parameters"]["training"] == {"trials": 5}
    assert retrain["description"] == "Kept by penstock schedule sync: wine/retrain"
    assert look["trigger"]["periodic_schedule"]["interval_second"] == "1800"
    assert look["service_account"] == "penstock-watcher"
    before = dict(kfp_server.recurring)

    again = sync({"retrain": RETRAIN, "look": LOOK})
    assert again.out.endswith("2 as declared.\n")
    assert kfp_server.recurring == before

    changed = sync({"retrain": RETRAIN | {"cron": "30 3 * * mon"}, "look": LOOK})
    assert changed.out.endswith("1 created, 1 deleted, 1 as declared.\n")
    assert "(another one replaces it)" in changed.out
    assert called(kfp_server, "retrain")["trigger"] == {"cron_schedule": {"cron": "0 30 3 * * mon"}}
    assert called(kfp_server, "look") == look

    gone = sync({"look": LOOK})
    assert "(no longer declared)" in gone.out
    assert names(kfp_server) == [look["display_name"]]
    assert sync({}).out.endswith("1 deleted.\n")
    assert kfp_server.recurring == {}
    assert sync({}).out == "Nothing is declared, and nothing was there.\n"


def test_a_project_that_changed_is_another_schedule(sync, kfp_server) -> None:
    assert sync({"retrain": {"every": "7d"}}).code == 0
    before = called(kfp_server, "retrain")
    done = sync({"retrain": {"every": "7d"}}, project=WATCHED | {"training": {"trials": 7}})
    assert done.out.endswith("1 created, 1 deleted.\n")
    after = called(kfp_server, "retrain")
    assert after["display_name"] != before["display_name"]
    assert after["pipeline_version_reference"] != before["pipeline_version_reference"]


def test_who_runs_it_does_not_matter(sync, kfp_server, monkeypatch) -> None:
    monkeypatch.setenv("KUBEFLOW_USERID", "jo@example.com")
    assert sync({"retrain": {"every": "7d"}}).code == 0
    assert "jo" in str(called(kfp_server, "retrain")["runtime_config"])
    monkeypatch.setenv("KUBEFLOW_USERID", "kim@example.com")
    assert sync({"retrain": {"every": "7d"}}).out.endswith("1 as declared.\n")


def test_others_are_left_alone(sync, kfp_server, penstock, project_file) -> None:
    """By hand, of another project whose name begins alike, and by its name alone."""
    path = project_file()
    by_hand = ("schedule", "create", path, "--every", "1d", "--host", kfp_server.host)
    assert penstock(*by_hand).code == 0
    assert penstock(*by_hand, "--name", "wine-retrain-0123456789ab").code == 0
    assert sync({"b": {"every": "1d"}}, project={"name": "wine-a"}).code == 0
    others = dict(kfp_server.recurring)
    assert sync({"a-b": {"every": "1d"}}, project={}).code == 0
    assert sync({}, project={}).out.endswith("1 deleted.\n")
    assert kfp_server.recurring == others


def test_a_sync_that_ended_midway_is_mended_by_the_next(sync, kfp_server) -> None:
    assert sync({"retrain": {"every": "1d"}}).code == 0
    before = dict(kfp_server.recurring)
    kfp_server.faults = [Fault(1, status=500, method="POST", path=RECURRING)]
    assert sync({"retrain": {"every": "2d"}}).code == 1
    assert kfp_server.recurring == before
    kfp_server.faults = [Fault(1, cut=True, method="DELETE", path=RECURRING)]
    assert sync({"retrain": {"every": "2d"}}).code == 1
    assert len(kfp_server.recurring) == 2
    assert sync({"retrain": {"every": "2d"}}).out.endswith("1 deleted, 1 as declared.\n")
    assert called(kfp_server, "retrain")["trigger"]["periodic_schedule"] == {
        "interval_second": "172800"
    }


def test_two_syncs_at_once_leave_one_schedule(sync, kfp_server) -> None:
    assert sync({"retrain": {"every": "1d"}}).code == 0
    first = called(kfp_server, "retrain")
    twin = first | {"recurring_run_id": "00000000-0000-4000-8000-000000000000"}
    kfp_server.recurring[twin["recurring_run_id"]] = twin
    assert sync({"retrain": {"every": "1d"}}).out.endswith("1 deleted, 1 as declared.\n")
    assert called(kfp_server, "retrain") == first


def test_paused_by_people_or_by_the_file(sync, kfp_server, penstock) -> None:
    assert sync({"retrain": {"every": "1d"}}).code == 0
    run = called(kfp_server, "retrain")["recurring_run_id"]
    assert penstock("schedule", "pause", run, "--host", kfp_server.host).code == 0
    assert sync({"retrain": {"every": "1d"}}).out.endswith("1 as declared.\n")
    assert sync({"retrain": {"every": "2d"}}).code == 0
    assert called(kfp_server, "retrain")["status"] == "DISABLED"
    on = sync({"retrain": {"every": "2d", "paused": False}})
    assert on.out.endswith("1 resumed.\n")
    assert called(kfp_server, "retrain")["status"] == "ENABLED"
    assert sync({"retrain": {"every": "2d", "paused": True}}).out.endswith("1 paused.\n")
    assert called(kfp_server, "retrain")["status"] == "DISABLED"


@pytest.mark.parametrize(
    ("schedules", "words"),
    [
        ({"retrain": {"cron": "* * *"}}, r"schedules\.retrain\.cron: '\* \* \*' has 3 fields"),
        ({"retrain": {"cron": "0 0 * * 7"}}, r"schedules\.retrain\.cron: '7' .*Sunday is 0"),
        ({"retrain": {"every": "soon"}}, r"schedules\.retrain: 'soon' is not a duration"),
        ({"retrain": {}}, r"schedules\.retrain: give either cron or every"),
        ({"retrain": {"every": "1d", "runs": "train"}}, r"retrain\.runs.*'train'"),
        ({"retrain": {"every": "1d", "often": 1}}, r"(?s)retrain\.often.*here: runs, cron"),
        ({"Retrain": {"every": "1d"}}, r"schedules\.Retrain: not a name for a schedule"),
        ({"a": {"every": "1d", "parameters": {"x": 1}}}, r"schedules\.a.*'x' is not a parameter"),
        ({"a": {"every": "1d", "start": "2027-01-01", "end": "2026-01-01"}}, "is not after"),
        ({"a": {"every": "1d", "max_concurrency": 11}}, "max_concurrency"),
        ({"a": {"runs": "monitor", "max_concurrency": 2}}, "max_concurrency: a service has one"),
    ],
)  # fmt: skip
def test_a_wrong_file_changes_nothing_and_says_where(sync, kfp_server, schedules, words) -> None:
    done = sync(schedules | {"right": {"every": "1d"}})
    assert done.code == 1
    assert re.search(words, done.err), done.err
    assert kfp_server.requests == []


def test_a_file_that_is_absent_or_empty_deletes_nothing(sync, kfp_server, tmp_path) -> None:
    absent = sync(None)
    assert (absent.code, "schedules.yaml" in absent.err) == (1, True)
    assert "schedules: {}" in absent.err
    (tmp_path / "schedules.yaml").write_text("# nothing yet\n")
    empty = sync(None)
    assert empty.code == 1
    assert kfp_server.requests == []


def test_a_check_asks_nobody(sync, kfp_server) -> None:
    done = sync({"retrain": {"every": "1d"}, "look": LOOK}, "--check")
    assert done.code == 0
    assert done.out.endswith("schedules.yaml declares look, retrain.\n")
    assert kfp_server.requests == []


def test_no_rights_and_a_server_that_is_away_are_said(sync, kfp_server) -> None:
    kfp_server.accounts = {"pipeline-runner"}
    account = sync({"look": LOOK})
    assert (account.code, "ALLOWEDSERVICEACCOUNTS=penstock-watcher" in account.err) == (1, True)
    kfp_server.tokens = {"right"}
    refused = sync({"retrain": {"every": "1d"}})
    assert (refused.code, "refuses the credentials (401)" in refused.err) == (1, True)
    kfp_server.tokens, kfp_server.multi_user, kfp_server.forbidden = None, True, {"team"}
    denied = sync({"retrain": {"every": "1d"}}, "--namespace", "team")
    assert (denied.code, "denies access (403)" in denied.err) == (1, True)
    with silent_port() as port:
        kfp_server.host = f"http://127.0.0.1:{port}"
        away = sync({"retrain": {"every": "1d"}})
    assert (away.code, "cannot be reached" in away.err) == (1, True)
    assert kfp_server.recurring == {}
