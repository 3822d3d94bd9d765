"""The project's page says what the records say, of everything, of nothing, and of what is torn."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest
from experiment_parts import PLAN, READING
from experiment_parts import rollout as experiment
from running_process import silent_port
from whole_life import HOUR, project_in, watched

from penstock.pipelines.index import refresh_index
from penstock.pipelines.located import Located
from penstock.pipelines.ui.page import project_page
from penstock.pipelines.ui.seen import see
from penstock.processes.identity import ProcessRef
from penstock.records.experiment import Experiment, ExperimentPlan, ExperimentReading
from penstock.records.intervention import Intervention
from penstock.records.monitoring import MonitorState
from penstock.rollout.backends.local.state import LocalState, ProxyProcess, ServerArm
from penstock.rollout.experiment.exporter import Standing
from penstock.triggers.endings import Ending
from penstock.triggers.events import Event
from penstock.triggers.store import TriggerStore

TITLES = (
    "Service", "Monitor", "Guardian", "Versions", "Champion", "Canaries", "Captures", "Decisions",
    "Runs and reports",
)  # fmt: skip


def shown(project: Located) -> dict[str, str]:
    """The text of each section by its title, and of the head under an empty title."""
    return sections_of(project_page(see(project), live=True))


def sections_of(html: str) -> dict[str, str]:
    head, *sections = re.split(r"<section ", html)
    found = {"": text_of(head)}
    for section in sections:
        title = re.search(r"<h2[^>]*>(.*?)</h2>", section)
        assert title
        found[title[1]] = text_of(section)
    return found


def text_of(html: str) -> str:
    text = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_every_section_has_what_the_records_say(whole: Located) -> None:
    found = shown(whole)
    assert [title for title in found if title] == list(TITLES)
    assert "The monitor's verdict is drifted: Look 3 was drifted." in found[""]
    assert "drifted" in found["Monitor"]
    assert "Look 3 was drifted." in found["Monitor"]
    assert "Look 1 was healthy." in found["Monitor"]
    assert "Look 2" not in found["Monitor"]
    assert "suggested 3 Train again: amount changed." in found["Monitor"]
    assert "Look at amount." in found["Monitor"]
    assert "Version 2 is held against version 1" in found["Guardian"]
    assert "1.0 % of 1,000 4.0 % 2.5 % of 200 2.0 %" in found["Guardian"]
    assert "harm is 0.5; harm is shown from 8 on" in found["Guardian"]
    assert "3 labelled requests are too few" in found["Guardian"]
    versions = found["Versions"]
    assert re.search(
        r"Pages 3 rolled back A model that no run here tells of, on rows1:01234567 not known 20",
        versions,
    )
    assert re.search(
        r" 2 champion boosting \(depth=2\), on rows1:01234567, roc_auc 0\.812 \(0\.800 to "
        r"0\.824\) approved 20.* Decision", versions,
    )  # fmt: skip
    assert re.search(r" 3 rejected bea \(stated\) 20.* never It looks odd\.", versions)
    assert "The alias champion names version 2." in found["Champion"]
    assert re.search(
        r"2 1 promoted canary \(automatic\) Version 2 was as good\..*"
        r"1 none promoted canary \(automatic\) Version 1 was as good\.", found["Champion"],
    )  # fmt: skip
    assert re.search(r" 3 over 2 rolled back 10 % at .*, 0 % at .* It failed", found["Canaries"])
    assert re.search(r" 2 over 1 promoted 10 % at .*, 100 % at .* Every", found["Canaries"])
    assert re.search(r" 2 3 0 0 0 \d+ B 2027-01-15 .* 2027-01-15 .* version-2", found["Captures"])
    assert "refused none" in found["Decisions"]
    assert "The gate refused it." in found["Runs and reports"]


def test_every_link_leads_to_a_file_of_the_home(whole: Located) -> None:
    html = project_page(see(whole), live=True)
    links = {link for link in re.findall(r'href="([^"]+)"', html) if not link.startswith("#")}
    assert "monitor/index.html" in links
    assert "runs/2026-11-28T10-00-00/reports/decision.html" in links
    for link in links:
        assert (whole.home / link).is_file(), link
    for anchor in re.findall(r'href="#([^"]+)"', html):
        assert f'id="{anchor}"' in html


def test_an_empty_home_is_said_section_by_section(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    found = shown(project)
    assert [title for title in found if title] == [t for t in TITLES if t != "Guardian"]
    for title, said in (
        ("", "Nothing is being served."),
        ("Monitor", "Nobody watches it yet."),
        ("Versions", "No version has been registered yet."),
        ("Champion", "No version has been the champion yet."),
        ("Canaries", "No version has been rolled out yet."),
        ("Captures", "Nothing was captured yet."),
        ("Decisions", "The gate has not decided yet."),
        ("Runs and reports", "Nothing has run on this machine yet."),
    ):
        assert said in found[title]
    assert not project.home.exists()
    assert refresh_index(project) is None


def test_what_cannot_be_read_is_a_sentence_and_no_old_value(project: Located) -> None:
    (project.home / "monitor" / "state.json").write_text("{")
    newest = sorted((project.home / "monitor" / "verdicts").iterdir())[0]
    newest.write_text("torn")
    with (project.home / "serving/loans/rollouts/2-run/journal.jsonl").open("a") as journal:
        journal.write("{}\n")
    (project.home / "mlflow.db").write_text("no database")
    (project.home / "serving" / "loans" / "state.json").write_text("{")
    found = shown(project)
    assert "It is not known what loans serves" in found[""]
    assert "The state of loans cannot be read" in found["Service"]
    assert "The monitor's state cannot be read" in found["Monitor"]
    assert "this is the newest verdict that is kept" in found["Monitor"]
    assert "1 of the monitor's verdicts cannot be read" in found["Monitor"]
    assert "Guardian" not in found
    assert re.search(r"The registry cannot be read: .*store cannot be read", found["Versions"])
    assert "Nobody has approved" not in found["Versions"]
    assert " 2 not known boosting" in found["Versions"]
    assert " 1 promoted boosting" in found["Versions"]
    assert "The registry cannot be read" in found["Champion"]
    assert "No version has been the champion" not in found["Champion"]
    assert "The journal of rollout 2-run cannot be read" in found["Canaries"]
    assert " 3 over 2 rolled back" in found["Canaries"]


def test_a_registry_that_is_down_is_said_at_once(tmp_path: Path) -> None:
    with silent_port() as port:
        project = project_in(tmp_path, more=f"tracking_uri: http://127.0.0.1:{port}\n")
        found = shown(project)
    assert re.search(r"The registry cannot be read: .*MLflow does not answer", found["Versions"])
    assert "No version has been registered" not in found["Versions"]


def test_a_verdict_that_is_old_is_not_of_now(project: Located) -> None:
    watched(project, now=datetime.now(UTC) - 5 * HOUR)
    assert re.search(r"The last look is 6 hours old, and one is due every 1 hour: this verdict is "
                     r"not of now", shown(project)["Monitor"])  # fmt: skip


def test_a_server_that_has_died_does_not_serve(project: Located) -> None:
    gone = ProcessRef(pid=2**22 + 1)
    arm = ServerArm(
        version=2, uri="models:/loans/2", model="m", folder="/gone", port=1, process=gone
    )
    proxy = ProxyProcess(port=1, admin_port=2, process=gone)
    state = LocalState(service="loans", port=1, stable=arm, proxy=proxy)
    state.write(project.home / "serving" / "loans" / "state.json")
    found = shown(project)
    assert "loans is not running. Start it again with: penstock run." in found[""]
    assert re.search(r"2 stable 100 % Its process ended", found["Service"])
    assert " 2 champion boosting" in found["Versions"]
    assert "serves" not in found["Versions"]


def test_a_recall_that_is_under_way_is_said(project: Located) -> None:
    path = project.home / "monitor" / "state.json"
    begun = datetime(2026, 11, 28, 10, tzinfo=UTC)
    going = Intervention(
        identity="i", number=3, version=2, reason="It predicts worse.", since=begun, began=begun,
        look=3, stage="recall", recall=1, run="r",
    )  # fmt: skip
    MonitorState.read(path).model_copy(update={"intervention": going}).write(path)
    assert "Under way Version 1 is being recalled" in shown(project)["Monitor"]


def test_an_alias_that_was_moved_by_hand_is_said(project: Located) -> None:
    from mlflow import MlflowClient

    uri = project.tracking_uri
    MlflowClient(tracking_uri=uri, registry_uri=uri).set_registered_model_alias(
        "loans", "champion", "1"
    )
    said = shown(project)["Champion"]
    assert "The alias champion names version 1." in said
    assert "the alias was moved by hand." in said


def test_a_rejection_that_was_removed_is_said(project: Located) -> None:
    with contextlib.closing(sqlite3.connect(project.home / "mlflow.db")) as store:
        store.execute("DELETE FROM model_version_tags WHERE key LIKE 'penstock.approval.%'")
        store.commit()
    said = shown(project)["Versions"]
    assert "The approvals of version 3 are not trusted" in said
    assert "the rejection by bea is in the audit log and not with the version" in said
    assert "Nobody has approved" not in said


def test_the_page_in_the_home_says_that_it_stays_as_it_is(project: Located) -> None:
    index = refresh_index(project)
    assert index is not None
    found = sections_of(index.read_text())
    assert "How it is now is shown by: penstock ui." in found["Service"]
    assert "Version 2 is held against version 1" in found["Guardian"]


def test_it_is_there_at_once_and_imports_nothing_heavy(whole: Located) -> None:
    code = (
        "import sys; from pathlib import Path; from penstock.pipelines.located import locate; "
        "from penstock.pipelines.ui.page import project_page; "
        "from penstock.pipelines.ui.seen import see; "
        f"assert 'Champion' in project_page(see(locate(Path({str(whole.folder)!r}) / "
        "'project.yaml')), live=True); "
        "heavy = ('mlflow', 'sklearn', 'pandas', 'pyarrow', 'matplotlib', 'kfp', 'kubernetes'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_experiments_are_shown_where_there_are_any(project: Located) -> None:
    folder = project.home / "experiments"
    folder.mkdir()
    start = datetime(2026, 11, 28, 10, tzinfo=UTC)
    Experiment(
        identity="3-experiment-1", service="loans", champion=2, challenger=3, by="ann",
        started=start, ended=start + 24 * HOUR, outcome="promoted", reason="It was stopped.",
        plan=ExperimentPlan(
            salt="s", header="x-user", weight=50, kpi="value", low=0, high=1, window=60, centre=0.5,
            variance=1, users=100, seconds=3600,
        ),
        reading=ExperimentReading(
            time=start, weight=50, sentence="The challenger is better."
        ),
    ).write(folder / "3-experiment-1.json")  # fmt: skip
    (folder / "3-experiment-1.html").write_text("its page")
    (folder / "2-run.html").write_text("one that goes on")
    (folder / "torn.json").write_text("{")
    html = project_page(see(project), live=True)
    said = sections_of(html)["Experiments"]
    assert "The record of experiment torn cannot be read" in said
    assert re.search(
        r"2026-11-28 .* 2026-11-29 .* 3 against 2 promoted The challenger is better\. "
        r"It was stopped\.", said,
    )  # fmt: skip
    assert re.search(
        r" - 2 against 1 under way What it shows now: penstock experiment status", said
    )
    assert 'href="experiments/3-experiment-1.html"' in html


def test_what_a_trigger_started_is_shown_where_there_is_one(project: Located) -> None:
    store = TriggerStore(project.home / "trigger" / "loans" / "trigger.db")
    assert "No trigger runs. 0 events wait" in shown(project)["Trigger"]
    for number, outcome in enumerate(("failed", "refused", "refused", "refused")):
        store.take([Event(source="/shop", id=str(number), type="sold")], now=1000)
        release = store.begin(now=1000)
        assert release is not None
        store.end(
            release.number, now=2000, exit_code=3, ending=Ending(outcome, f"It was {outcome}.")
        )
    store.take([Event(source="/shop", id="more", type="sold")], now=3000)
    said = shown(project)["Trigger"]
    assert "1 events wait" not in said
    assert "1 event waits for a release, since 1970-01-01" in said
    assert "3 releases in a row were refused or rolled back, so none is started" in said
    assert re.search(r"refused 1 event: sold \(1\) It was refused\. .* failed 1 event", said)
    store.database.path.write_bytes(b"x" * 5000)
    assert "What the trigger remembers cannot be read" in shown(project)["Trigger"]


def test_an_experiment_under_way_has_its_last_look_and_says_if_nobody_watches(
    project: Located, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.home / "experiments").mkdir()
    (project.home / "experiments" / "4-experiment-x.html").write_text("its page")
    # One that goes on needs servers; what is read of it is what its controller left.
    reading = READING.model_copy(update={"sentence": "The challenger is better."})
    found = Standing(experiment(), PLAN, reading, (), driven=False)
    monkeypatch.setattr("penstock.pipelines.ui.experiments.experiment_of", lambda _: found)
    said = shown(project)["Experiments"]
    assert "The challenger is better. Nobody watches it for harm." in said
    assert "Go on with it: penstock experiment start." in said
