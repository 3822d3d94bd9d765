"""What a soak claims, each with its figure and its bound, and how its figures are printed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from soak_figures import MIB, Watch, middle
from soak_release import store_of

from penstock.rollout.backends.local.state import ServiceFolder

if TYPE_CHECKING:
    from soak_services import Soak

MENDED = 30.0
"""Seconds in which what was killed answers again: noticed at a look, and a server's start."""
CUT = ("ConnectionRefusedError", "ConnectionResetError", "BrokenPipeError", "IncompleteReadError")
BY_A_KILL = (*CUT, "502", "503")
"""How a request fails whose server or proxy is killed, and no other way."""
SLOPE = 2.0
"""MiB a minute that a process may grow by at most, once it is a minute old. A model server keeps
100,000 answers in mind (`penstock.serving.feedback.REMEMBERED`), 0.4 KB each: at this load 1.4 MiB
a minute until it has them, 40 MiB in all."""
GROWTH = 1.15
"""What the median memory of the second half's processes may be of the first half's."""
FILES, THREADS = 64, 12
"""Open files and threads that a process may have at most."""
LOGS = 4 * MIB
"""Bytes of logs of both services."""
EVIDENCE = 8 * MIB
"""Bytes that a release may leave for good: its journal, and what its server captured."""

Claim = tuple[str, float, float]
"""What, its figure, and the most that it may come to."""


def judge_all(
    soak: Soak, watch: Watch, loaded: dict[str, Any], failures: list[dict[str, Any]]
) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims and what the page shows of the figures."""
    allowed = [one for one in failures if _cause(soak, one)]
    slopes = [s.slope for s in watch.series.values() if s.slope is not None]
    ratio = _growth(watch)
    requests = sum(sum(one["answers"].values()) for one in loaded.values())
    raw = [one for one in soak.outcomes if one["code"] == 1 or "Traceback" in one["said"]]
    bad = [one for one in soak.outcomes if one["fault"] and one["code"] == 0]
    claims: list[Claim] = [
        ("requests that failed and should not", len(failures) - len(allowed), 0),
        ("of all, failed for a kill", _share(len(allowed), requests), 0.05),
        ("seconds from a kill to the last request that it cost", *_outage(soak, failures)),
        ("commands that hang", len(soak.hung), 0),
        ("commands that ended in an error", len(raw), 0),
        ("versions with a fault that were promoted", len(bad), 0),
        ("services in another state than the registry", *_settled(soak)),
        ("MiB a minute, the fastest process", max(slopes, default=0.0), SLOPE),
        ("memory of the second half by the first", ratio, GROWTH),
        ("open files, the most of a process", *_most(watch, "files", FILES)),
        ("threads, the most of a process", *_most(watch, "threads", THREADS)),
        ("bytes of logs", *_logs(soak)),
        ("bytes that each release leaves as evidence", *_evidence(soak)),
        ("zombies", len(watch.zombies), 0),
        ("models kept", *_models(soak)),
    ]
    figures = {
        "requests": {
            service: {**one["answers"], "slowest_answer_seconds": one["slowest"]}
            for service, one in loaded.items()
        },
        "commands": len(soak.outcomes),
        "kills": dict(Counter(kill.victim for kill in soak.kills)),
        "failures": dict(
            Counter(f"{f['kind']}, {_cause(soak, f) or 'nothing'} killed" for f in failures)
        ),
        "processes_watched": len(watch.series),
        "raw": {
            "failures": failures,
            "outcomes": soak.outcomes,
            "kills": [vars(kill) for kill in soak.kills],
            "files": soak.files,
            "processes": [vars(series) for series in watch.series.values()],
        },
    }
    return claims, figures


def _share(part: int, whole: int) -> float:
    """Return the share; of nothing not a number, which keeps to no bound."""
    return part / whole if whole else float("nan")


def _cause(soak: Soak, failure: dict[str, Any]) -> str:
    """Return what was killed that a failure may come from; empty: nothing."""
    for kill in soak.kills:
        after = failure["time"] - kill.time
        hit = kill.victim != "controller" and kill.service == failure["service"]
        if hit and -0.2 <= after <= MENDED and failure["kind"] in BY_A_KILL:
            return kill.victim
    return ""


def _outage(soak: Soak, failures: list[dict[str, Any]]) -> tuple[float, float]:
    longest = 0.0
    for failure in failures:
        since = [
            failure["time"] - kill.time
            for kill in soak.kills
            if kill.service == failure["service"] and kill.time < failure["time"]
        ]
        longest = max(longest, min(since, default=0.0))
    return longest, MENDED


def _growth(watch: Watch) -> float:
    """Compare the memory of processes of one role, settled, in the two halves of the time."""
    times = [t for series in watch.series.values() for t in series.times]
    half = (min(times) + max(times)) / 2
    ratios = []
    for role in ("proxy", "model server"):
        halves: list[list[int]] = [[], []]
        for series in watch.series.values():
            if series.role == role:
                for place, moment in enumerate(series.times):
                    if moment - series.times[0] > 15:
                        halves[moment > half].append(series.rss[place])
        if all(halves):
            ratios.append(middle(halves[1]) / middle(halves[0]))
    return max(ratios, default=1.0)


def _settled(soak: Soak) -> tuple[float, float]:
    from penstock.registry.champion import checked_champion

    wrong = 0
    for service in soak.services:
        state = soak.state(service)
        champion = checked_champion(service, tracking_uri=store_of(soak.folder))
        version = champion.version.version if champion.version else None
        serves = state.stable.version if state and state.stable else None
        wrong += bool(champion.problem) or serves != version or (state and state.weight) != 0
    return wrong, 0


def _most(watch: Watch, what: str, bound: int) -> tuple[float, float]:
    most = max((max(getattr(series, what)) for series in watch.series.values()), default=0)
    return most, bound


def _logs(soak: Soak) -> tuple[float, float]:
    size = sum(soak.files[-1].get(kind, (0, 0))[1] for kind in ("log", "logs"))
    return size, LOGS


def _evidence(soak: Soak) -> tuple[float, float]:
    kinds = ("captures", "rollouts")
    sizes = [sum(files.get(kind, (0, 0))[1] for kind in kinds) for files in soak.files]
    each = (sizes[-1] - sizes[0]) / max(len(sizes) - 1, 1)
    return each, EVIDENCE


def _models(soak: Soak) -> tuple[float, float]:
    most = max(
        len(list(ServiceFolder(soak.home, service).models.iterdir())) for service in soak.services
    )
    return most, 3


def print_all(
    soak: Soak,
    watch: Watch,
    loaded: dict[str, Any],
    failures: list[dict[str, Any]],
) -> None:
    """Print all of it but the claims."""
    print("\nRequests")
    for service, one in loaded.items():
        answers = ", ".join(f"{kind}: {count:,}" for kind, count in one["answers"].items())
        print(f"  {service:8} {answers}; slowest answer {one['slowest']:.2f} s")
    causes = Counter((_cause(soak, f) or "NOTHING WAS KILLED", f["kind"]) for f in failures)
    for (cause, kind), count in sorted(causes.items()):
        print(f"  failed {kind:24} {count:6,}  {cause} killed")
    print(f"\nKills  {dict(Counter(kill.victim for kill in soak.kills))}")
    print("\nProcesses           seconds   RSS MiB first, last   MiB/min   files   threads")
    for series in watch.series.values():
        if len(series.times) < 10:
            continue
        slope = "      -" if series.slope is None else f"{series.slope:7.2f}"
        print(
            f"  {series.role:16} {series.times[-1] - series.times[0]:8.0f}   "
            f"{series.rss[0] / MIB:8.0f} {series.rss[-1] / MIB:8.0f}   {slope}   "
            f"{series.files[0]:3} {series.files[-1]:3}   {series.threads[0]:3} "
            f"{series.threads[-1]:3}"
        )
    print("\nFiles below the home: first and last, number and KiB")
    if soak.files:
        for kind in sorted(soak.files[0].keys() | soak.files[-1].keys()):
            first, last = soak.files[0].get(kind, (0, 0)), soak.files[-1].get(kind, (0, 0))
            print(
                f"  {kind:16} {first[0]:5} {first[1] / 1024:10.0f}   "
                f"{last[0]:5} {last[1] / 1024:10.0f}"
            )
