"""A run that was killed in its canary is driven on by its journal, and nothing is judged again.

Registry, journal, proxy and processes are real; in the place of model servers are stubs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from intervened_service import RETRAIN
from test_command_endings import Trial, left_in_a_step, serving_one, template, trials

from penstock.pipelines import intervention_process
from penstock.pipelines.interventions import Stage
from penstock.pipelines.located import Located, locate
from penstock.records.intervention import RunStatus

pytestmark = pytest.mark.slow

# Fixtures.
__all__ = ["template", "trials"]


def project_of(site: Trial, folder: Path) -> Located:
    """A project whose home is the site's."""
    folder.mkdir()
    (folder / ".penstock").symlink_to(site.home)
    raw = {
        "name": "adult",
        "target": "label",
        "source": {"uri": "gone.csv"},
        "tracking_uri": site.uri,
        "deployment": {"port": 0, "ready_timeout": 20},
    }
    (folder / "project.yaml").write_text(yaml.safe_dump(raw))
    return locate(folder / "project.yaml")


def left_by(site: Trial, version: int) -> Path:
    """What the run of the order left: the registration of a version."""
    run = site.home / "runs" / RETRAIN.run
    step = run / "kfp" / "one" / "register"
    step.mkdir(parents=True)
    site.template.orders[version].registration.write(step / "registration")
    return run


def go_on(found: Located, folder: Path) -> RunStatus:
    return intervention_process.run(found, RETRAIN, Stage(folder / "stages", RETRAIN.run))


@pytest.mark.long
def test_killed_in_its_canary_it_is_driven_on_and_its_end_is_found_again(
    trials: Callable[[str], Trial], tmp_path: Path
) -> None:
    site = trials("one champion")
    left_in_a_step(site)
    run = left_by(site, 2)
    found = project_of(site, tmp_path / "project")
    status = go_on(found, tmp_path)
    assert (status.state, status.version) == ("released", 2)
    assert status.reason.startswith("It was cut short and gone on with.")
    site.assert_legal(champion=2)
    assert json.loads((run / "summary.json").read_text())["outcome"] == "released"
    # Killed once more, before it was written how it ended.
    assert go_on(found, tmp_path) == status


@pytest.mark.long
def test_where_its_rollout_had_not_begun_the_run_is_run_again(
    trials: Callable[[str], Trial], tmp_path: Path
) -> None:
    site = trials("one champion")
    serving_one(site)
    left_by(site, 2)
    found = project_of(site, tmp_path / "project")
    assert intervention_process.left_behind(found, RETRAIN) is None
