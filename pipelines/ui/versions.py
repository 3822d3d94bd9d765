"""The project's page on versions: model, data, metric, gate, approvals; champions over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.errors import PenstockError
from penstock.pipelines.outputs import PastRun
from penstock.pipelines.ui.canaries import OUTCOMES
from penstock.pipelines.ui.parts import Row, clock, links, section, short
from penstock.pipelines.ui.seen import Seen
from penstock.pipelines.ui.service import weights
from penstock.records.approval import Approval
from penstock.records.evaluation import CANDIDATE
from penstock.records.rollout import Rollout
from penstock.registry import approvals, audit, champion_history, versions
from penstock.registry.audit import AuditLog
from penstock.registry.champion_history import Move
from penstock.registry.glance import GlancedModel, GlancedVersion
from penstock.reports.page import Cell, Section, Tone, heading, paragraph, table, warning
from penstock.reports.words import figure_text

_PAGES = ("decision", "card")
"""The pages of a version; the others are with its run."""

_HEADERS = ["Version", "Status", "Model, dataset, holdout", "Gate", "Registered", "Pages"]
_UNKNOWN = "not known"
_GATE: dict[bool, tuple[str, Tone]] = {True: ("approved", "good"), False: ("refused", "bad")}


@dataclass(frozen=True)
class _Version:
    """A version as the registry and the run that made it have it; one of them at least."""

    number: int
    run: PastRun | None = None
    found: GlancedVersion | None = None


def section_of_versions(seen: Seen) -> Section:
    """Return every version that the registry or a run here knows, the newest first."""
    model = seen.registered.value
    shares = weights(seen)
    # Else a version of which nothing is found may have served, or serve now.
    complete = shares is not None and not seen.rollouts.problems
    newest: dict[int, Rollout] = {}
    for rollout in seen.rollouts.value:
        newest.setdefault(rollout.candidate, rollout)
    rows = [
        [
            Cell(str(each.number), strong=True),
            _status(each.number, shares, newest.get(each.number), model, complete=complete),
            _model(each, seen),
            _gate(each.run),
            _registered(each),
            Cell("", links=links(each.run, *_PAGES, home=seen.home)) if each.run else "",
        ]
        for each in _all(seen)
    ]
    lead = (
        "What a run on this machine left, and what the registry holds. Figures have their 95 % "
        "intervals."
    )
    return section(
        "Versions",
        _HEADERS,
        rows,
        none="No version has been registered yet.",
        lead=lead if rows else "",
        problems=seen.registered.problems,
        after=_approvals(model, seen.project.project.name) if model else "",
    )


def _all(seen: Seen) -> list[_Version]:
    made: dict[int, PastRun] = {}
    for run in seen.runs.value:
        if run.registration is not None:
            made.setdefault(run.registration.version, run)
    there = (
        {one.version: one for one in seen.registered.value.versions}
        if (seen.registered.value)
        else {}
    )
    return [
        _Version(number, _maker(made.get(number), there.get(number)), there.get(number))
        for number in sorted({*made, *there}, reverse=True)
    ]


def _maker(run: PastRun | None, found: GlancedVersion | None) -> PastRun | None:
    """Return the run of a version, unless the registry's version of that number is another one."""
    if run is None or found is None or run.registration is None:
        return run
    return run if run.registration.model == found.tags.get(versions.MODEL_DIGEST) else None


def _status(
    version: int,
    shares: Mapping[int, int] | None,
    rollout: Rollout | None,
    model: GlancedModel | None,
    *,
    complete: bool,
) -> Cell:
    champion = model is not None and model.aliases.get(versions.CHAMPION) == version
    if shares and shares.get(version):
        return Cell(f"serves {shares[version]} %", "good")
    if champion:
        return Cell("champion", "good")
    if rollout is None:
        return Cell("never served" if complete else _UNKNOWN)
    if rollout.outcome == "promoted" and complete:
        return Cell("served before")
    return Cell(*OUTCOMES[rollout.outcome])


def _model(each: _Version, seen: Seen) -> str:
    """Return what the model is, what it was made of, and its metric on the holdout."""
    evaluation = seen.evaluations.get(each.run.folder) if each.run else None
    scores = evaluation.scores_of(CANDIDATE) if evaluation else None
    figure = scores.metrics.get(evaluation.metric) if evaluation and scores else None
    said = [
        scores.description if scores else "A model that no run here tells of",
        f"on {_dataset(each)}",
        f"{evaluation.metric} {figure_text(figure)}" if evaluation and figure else "",
    ]
    return ", ".join(filter(None, said))


def _gate(run: PastRun | None) -> str | Cell:
    if run is None or run.decision is None:
        return _UNKNOWN
    return Cell(*_GATE[run.decision.approved])


def _registered(each: _Version) -> str:
    if each.found is not None and each.found.created is not None:
        return f"{each.found.created.astimezone():%Y-%m-%d %H:%M}"
    return each.run.began[:16] if each.run else _UNKNOWN


def _approvals(model: GlancedModel, name: str) -> str:
    """Return who approved or rejected which version; what cannot be trusted is said."""
    log = audit.read(model.tags)
    rows: list[Row] = []
    wrong = []
    for version in model.versions:
        given: tuple[Approval, ...] = ()
        try:
            given = approvals.read(version.tags, log=log)
            approvals.require_all(given, log=log, uri=f"models:/{name}/{version.version}")
        except PenstockError as error:
            wrong.append(f"The approvals of version {version.version} are not trusted: {error}")
        rows += [
            [
                Cell(str(version.version), strong=True),
                Cell(one.verdict, "good" if one.verdict == "approved" else "bad"),
                f"{one.by.name} ({one.by.means})",
                clock(one.time),
                clock(one.expires) if one.verdict == "approved" else "never",
                one.reason,
            ]
            for one in reversed(given)
        ]
    body = heading("Approvals and rejections") + "".join(map(warning, wrong))
    if rows:
        return body + table(["Version", "What", "By", "When", "Expires", "Why"], rows)
    return body if wrong else body + paragraph("Nobody has approved or rejected a version.")


def _dataset(each: _Version) -> str:
    digest = (each.run.data_version if each.run else "") or (
        each.found.tags.get(versions.DATASET, "") if each.found else ""
    )
    return short(digest) if digest else "data that are not known"


def section_of_champions(seen: Seen) -> Section:
    """Return which version was champion from when, by whom and why, and what is wrong with that."""
    model = seen.registered.value
    log = audit.read(model.tags) if model else AuditLog()
    alias = model.aliases.get(versions.CHAMPION) if model else None
    kept = model is not None and any(
        one.version == alias and versions.EVIDENCE_DIGEST in one.tags for one in model.versions
    )
    status = champion_history.status_of(log, alias=alias, kept=kept)
    rows: list[Row] = [
        [
            clock(move.entry.time),
            Cell(str(move.version), strong=True),
            str(move.before or "none"),
            move.entry.event if done else f"{move.entry.event} (begun, not finished)",
            audit.actor_of(move.entry),
            move.entry.reason or "-",
        ]
        for move, done in reversed(_moves(log))
    ]
    wrong = [f"The audit log is broken. {problem}" for problem in log.problems]
    if model and status.problem:
        wrong.append(f"{status.problem[0].upper()}{status.problem[1:]}.")
    now = f"The alias champion names version {alias}." if alias else "No version is the champion."
    said = paragraph(f"{now} {status.note}".strip()) if model else ""
    return section(
        "Champion",
        ["Since", "Version", "Before", "What", "By", "Why"],
        rows,
        none="No version has been the champion yet.",
        lead="From the audit log of the registry, the newest first. All of it: penstock audit."
        if model
        else "",
        problems=seen.registered.problems,
        before="".join(map(warning, wrong)) + said,
    )


def _moves(log: AuditLog) -> list[tuple[Move, bool]]:
    """Return the moves of the champion and whether each is done, in the order of the log.

    Of one that was done the entry that began it says by whom and why.
    """
    found = champion_history.moves(log)
    begun = [move for move in found if not move.done]
    done = [move for move in found if move.done]

    def follows(later: Move, earlier: Move) -> bool:
        return later.version == earlier.version and log.descends(later.digest, earlier.digest)

    return [
        (move, move.done or any(follows(each, move) for each in done))
        for move in found
        if not move.done or not any(follows(move, each) for each in begun)
    ]


def section_of_decisions(seen: Seen) -> Section:
    """Return every decision of the gate, refusals too."""
    rows: list[Row] = [
        [
            run.began,
            Cell(*_GATE[decision.approved]),
            str(run.registration.version) if run.registration else "none",
            decision.grounds(),
            Cell("", links=links(run, "decision", home=seen.home)),
        ]
        for run in seen.runs.value
        if (decision := run.decision) is not None
    ]
    return section(
        "Decisions",
        ["Run", "Gate", "Version", "Reason", "Pages"],
        rows,
        none="The gate has not decided yet.",
        problems=seen.runs.problems,
    )
