"""`penstock schedule`: recurring runs from creation to deletion."""

from __future__ import annotations

import pytest
from kfp_server import Fault

from penstock.pipelines.parameters import starter

RECURRING = "/apis/v2beta1/recurringruns"


@pytest.fixture
def schedule(kfp_server, penstock):
    """`schedule("list", …)` runs an action against the server."""

    def run(action: str, *arguments: object):
        return penstock("schedule", action, *arguments, "--host", kfp_server.host)

    return run


def only(server) -> dict:
    (found,) = server.recurring.values()
    return found


def test_the_life_of_a_schedule(schedule, kfp_server, project_file) -> None:
    made = schedule("create", project_file(), "--cron", "30 2 * * mon")
    assert made.code == 0, made.err
    assert "Cron '30 2 * * mon' became '0 30 2 * * mon'" in made.out
    assert "Schedule wine created: cron 0 30 2 * * mon" in made.out
    assert "UTC" in made.out
    there = only(kfp_server)
    assert there["trigger"] == {"cron_schedule": {"cron": "0 30 2 * * mon"}}
    assert (there["mode"], there["no_catchup"], there["max_concurrency"]) == ("ENABLE", True, "1")
    version = kfp_server.versions[there["pipeline_version_reference"]["pipeline_version_id"]]
    assert version["name"].startswith("wine-")

    assert f"wine  on  cron 0 30 2 * * mon  {there['recurring_run_id']}" in schedule("list").out
    assert schedule("pause", "wine").out == "Schedule wine paused.\n"
    assert only(kfp_server)["status"] == "DISABLED"
    assert "wine  paused" in schedule("list").out
    assert schedule("resume", there["recurring_run_id"]).code == 0
    assert only(kfp_server)["status"] == "ENABLED"
    assert schedule("delete", "wine").code == 0
    assert kfp_server.recurring == {}
    assert schedule("list").out == "There are no schedules.\n"


def test_the_same_again_changes_nothing(schedule, kfp_server, project_file) -> None:
    command = (
        "create",
        project_file(),
        "--every",
        "12h",
        "--start",
        "2026-12-01",
        "-p",
        "task=binary",
    )
    assert schedule(*command).code == 0
    before = only(kfp_server)
    again = schedule(*command)
    assert "Schedule wine unchanged" in again.out
    assert only(kfp_server) == before
    assert len(kfp_server.versions) == len(kfp_server.pipelines) == 1
    assert before["trigger"] == {
        "periodic_schedule": {
            "interval_second": "43200",
            "start_time": "2026-12-01T00:00:00+00:00",
        }
    }
    assert before["runtime_config"] == {"parameters": {"task": "binary", "requested_by": starter()}}


@pytest.mark.parametrize(
    "changed",
    [
        ("--every", "6h"),
        ("--every", "12h", "-p", "task=binary"),
        ("--cron", "0 0 * * *"),
        *(
            pytest.param(("--every", "12h", *more), marks=pytest.mark.long)
            for more in (
                ("--catch-up",),
                ("--max-concurrency", "2"),
                ("--end", "2027-01-01"),
                ("--service-account", "runner"),
                ("--experiment", "other"),
            )
        ),
    ],
)
def test_a_changed_schedule_is_replaced(schedule, kfp_server, project_file, changed) -> None:
    project = project_file()
    assert schedule("create", project, "--every", "12h").code == 0
    before = only(kfp_server)
    done = schedule("create", project, *changed)
    assert "Schedule wine replaced" in done.out, done.err
    assert only(kfp_server)["recurring_run_id"] != before["recurring_run_id"]


def test_a_changed_project_makes_a_new_version(schedule, kfp_server, project_file) -> None:
    command = ("--every", "1d")
    assert schedule("create", project_file(), *command).code == 0
    first = only(kfp_server)["pipeline_version_reference"]
    done = schedule("create", project_file(training={"trials": 7}), *command)
    assert "replaced" in done.out
    second = only(kfp_server)["pipeline_version_reference"]
    assert first["pipeline_id"] == second["pipeline_id"]
    assert first["pipeline_version_id"] != second["pipeline_version_id"]
    assert len({version["name"] for version in kfp_server.versions.values()}) == 2
    back = schedule("create", project_file(), *command)
    assert back.code == 0
    assert only(kfp_server)["pipeline_version_reference"] == first, (
        "an old content, its old version"
    )


def test_a_version_carries_the_cluster_settings(schedule, kfp_server, project_file) -> None:
    project = project_file(cluster={"node_selector": {"disk": "ssd"}})
    assert schedule("create", project, "--every", "1d").code == 0
    (version,) = kfp_server.versions.values()
    assert "platform_spec" in version["pipeline_spec"]


def test_a_paused_schedule_stays_paused_when_replaced(schedule, kfp_server, project_file) -> None:
    project = project_file()
    schedule("create", project, "--every", "1d")
    schedule("pause", "wine")
    done = schedule("create", project, "--every", "2d")
    assert "It is paused, as it was before" in done.out
    assert only(kfp_server)["status"] == "DISABLED"


def test_a_failed_replacement_leaves_the_old_one(schedule, kfp_server, project_file) -> None:
    project = project_file()
    schedule("create", project, "--every", "1d")
    before = only(kfp_server)
    kfp_server.faults = [Fault(1, status=500, method="POST", path=RECURRING)]
    assert schedule("create", project, "--every", "2d").code == 1
    assert only(kfp_server) == before
    # What died between making the new and deleting the old leaves two; the next one mends it.
    kfp_server.faults = [Fault(1, status=500, method="DELETE", path=RECURRING)]
    assert schedule("create", project, "--every", "2d").code == 1
    assert len(kfp_server.recurring) == 2
    twice = schedule("pause", "wine")
    assert twice.code == 1
    assert "2 schedules have this name" in twice.err
    assert schedule("create", project, "--every", "2d").code == 0
    assert only(kfp_server)["trigger"]["periodic_schedule"]["interval_second"] == "172800"


def test_several_are_listed_over_pages_and_found(schedule, kfp_server, project_file) -> None:
    for number in range(5):
        assert schedule("create", project_file(), "--every", "1d", "--name", f"s{number}").code == 0
    assert len(schedule("list").out.splitlines()) == 5
    assert schedule("delete", "s4").code == 0
    lost = schedule("delete", "s4")
    assert lost.code == 1
    assert "s4: there is no such schedule. There are: s0, s1, s2, s3." in lost.err


def test_namespaces_are_kept_apart(schedule, kfp_server, project_file) -> None:
    kfp_server.multi_user = True
    project = project_file(cluster={"namespace": "team"})
    assert schedule("create", project, "--every", "1d").code == 0
    assert only(kfp_server)["namespace"] == "team"
    assert next(iter(kfp_server.pipelines.values()))["namespace"] == "team"
    nameless = schedule("list")
    assert nameless.code == 1
    assert "namespace is empty" in nameless.err
    assert "wine" in schedule("list", "--namespace", "team").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "one of the arguments --cron --every is required"),
        (("--cron", "* * * *"), "has 4 fields"),
        (("--cron", "0 0 24 * * *"), "'24' does not fit the hour"),
        (("--cron", "0 0 * * 7"), "Sunday is 0"),
        (("--every", "soon"), "'soon' is not a duration"),
        (("--every", "1d", "--max-concurrency", "11"), "Give 1 to 10"),
        (("--every", "1d", "--start", "tomorrow"), "is not a valid timestamp"),
        (("--every", "1d", "--start", "2027-01-01", "--end", "2026-01-01"), "is not after"),
        (("--every", "1d", "-p", "x=1"), "'x' is not a parameter"),
    ],
)
def test_wrong_usage_is_refused_here(schedule, kfp_server, project_file, arguments, words) -> None:
    done = schedule("create", project_file(), *arguments)
    assert done.code == 2
    assert words in done.err
    assert kfp_server.requests == []


def test_a_table_of_this_machine_is_refused(schedule, project_file) -> None:
    done = schedule("create", project_file(source={"uri": "wine.csv"}), "--every", "1d")
    assert done.code == 2
    assert "is on this machine" in done.err


WATCHED = {
    "deployment": {"router": "kserve"},
    "monitoring": {"state": "s3://bucket/monitor", "every": "30m"},
}


def test_the_monitor_runs_one_look_at_a_time_beside_the_releases(
    schedule, kfp_server, project_file
) -> None:
    assert schedule("create", project_file(**WATCHED), "--every", "7d").code == 0
    made = schedule(
        "create", project_file(**WATCHED), "--monitor", "--service-account", "penstock-watcher"
    )
    assert made.code == 0, made.err
    assert "Schedule wine-monitor created: every 1800 s" in made.out
    found = next(
        one for one in kfp_server.recurring.values() if one["display_name"] == "wine-monitor"
    )
    assert (found["max_concurrency"], found["no_catchup"]) == ("1", True)
    assert found["service_account"] == "penstock-watcher"
    assert not found.get("runtime_config", {}).get("parameters")
    version = kfp_server.versions[found["pipeline_version_reference"]["pipeline_version_id"]]
    assert version["name"].startswith("wine-monitor-")
    assert len(kfp_server.pipelines) == len(kfp_server.recurring) == 2
    again = schedule(
        "create", project_file(**WATCHED), "--monitor", "--service-account", "penstock-watcher"
    )
    assert "Schedule wine-monitor unchanged" in again.out


def test_where_it_acts_a_look_may_run_beside_what_waits_for_people(
    schedule, kfp_server, project_file
) -> None:
    acts = WATCHED | {"monitoring": WATCHED["monitoring"] | {"retrain": "automatic"}}
    made = schedule("create", project_file(**acts), "--monitor")
    assert made.code == 0, made.err
    (found,) = kfp_server.recurring.values()
    assert (found["max_concurrency"], found["no_catchup"]) == ("2", True)
    again = schedule("create", project_file(**acts), "--monitor")
    assert "Schedule wine-monitor unchanged" in again.out


def test_a_monitor_that_cannot_be_is_refused(schedule, kfp_server, project_file) -> None:
    several = schedule("create", project_file(**WATCHED), "--monitor", "--max-concurrency", "2")
    assert (several.code, "one monitor at a time" in several.err) == (2, True)
    here = schedule("create", project_file(), "--monitor")
    assert (here.code, "served on one machine" in here.err) == (1, True)
    never = schedule("create", project_file(**WATCHED))
    assert (never.code, "--cron --every is required" in never.err) == (2, True)
    assert kfp_server.recurring == {}


SCORED = {
    "tracking_uri": "http://mlflow:5000",
    "scoring": {"source": {"uri": "s3://bucket/today"}, "destination": "s3://bucket/scores"},
}


def test_a_scoring_runs_beside_the_releases(schedule, kfp_server, project_file) -> None:
    made = schedule("create", project_file(**SCORED), "--score", "--cron", "0 5 * * *")
    assert made.code == 0, made.err
    assert "Schedule wine-score created" in made.out
    (found,) = kfp_server.recurring.values()
    version = kfp_server.versions[found["pipeline_version_reference"]["pipeline_version_id"]]
    assert version["name"].startswith("wine-score-")
    both = schedule("create", project_file(**SCORED), "--score", "--monitor", "--every", "1d")
    assert both.code == 2
    nowhere = schedule("create", project_file(), "--score", "--every", "1d")
    assert (nowhere.code, "says no source" in nowhere.err) == (1, True)
