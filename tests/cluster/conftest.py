"""Says, before anything is done, on which cluster it will be done."""

from __future__ import annotations

from cluster_site import ASKED, NAMESPACE, PIPELINES, asked


def pytest_report_header() -> list[str]:
    if not ASKED:
        return []
    server = asked("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    return [f"cluster: {server.stdout or server.stderr} namespaces {NAMESPACE}, {PIPELINES}"]
