"""The project file's `cluster` section on the tasks of a pipeline, by kfp-kubernetes.

Everything is compiled in as a constant. kfp-kubernetes can also take most of it from pipeline
parameters, which the driver resolves at run time; but a server that does not know such a parameter
ignores it without a word, and then a step runs on the wrong node or without its credentials.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from penstock.cluster.settings import ClusterSpec, ResourcesSpec, SecretSpec

if TYPE_CHECKING:
    from kfp import dsl


def on_cluster(pipeline: Any, cluster: ClusterSpec) -> Any:
    """Return the pipeline with the settings on each of its tasks, or itself if there are none.

    Args:
        pipeline: A function decorated with `dsl.pipeline`; it is not changed.
        cluster: The settings. Service account, experiment and namespace are a run's own and are
            not compiled in.
    """
    compiled = cluster.model_copy(
        update=dict.fromkeys(("service_account", "experiment", "namespace"), "")
    )
    if compiled == ClusterSpec():
        return pipeline
    from kfp import dsl
    from kfp.dsl.pipeline_context import Pipeline

    # kfp-kubernetes works on tasks, and those live only while the pipeline's function runs.
    @functools.wraps(pipeline.pipeline_func)
    def placed(*arguments: Any) -> None:
        pipeline.pipeline_func(*arguments)
        for name, task in Pipeline.get_default_pipeline().tasks.items():
            _place(task, name=name, cluster=compiled)

    spec = pipeline.component_spec
    return dsl.pipeline(placed, name=spec.name, description=spec.description)


def _place(task: dsl.PipelineTask, *, name: str, cluster: ClusterSpec) -> None:
    from kfp import kubernetes

    for variable, value in cluster.environment.items():
        task.set_env_variable(variable, value)
    if not cluster.caching:
        task.set_caching_options(enable_caching=False)
    if cluster.image_pull_policy:
        kubernetes.set_image_pull_policy(task, cluster.image_pull_policy)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
    for label, value in cluster.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for toleration in cluster.tolerations:
        kubernetes.add_toleration(
            task,
            key=toleration.key or None,
            operator=toleration.operator,
            value=toleration.value or None,
            effect=toleration.effect or None,
            toleration_seconds=toleration.seconds,
        )
    if name in cluster.resources:
        _size(task, cluster.resources[name])
    for secret in cluster.secrets:
        if not secret.steps or name in secret.steps:
            _give(task, secret)


def _size(task: dsl.PipelineTask, resources: ResourcesSpec) -> None:
    if resources.cpu:
        task.set_cpu_request(resources.cpu)
    if resources.memory:
        task.set_memory_request(resources.memory)
        task.set_memory_limit(resources.memory)


def _give(task: dsl.PipelineTask, secret: SecretSpec) -> None:
    from kfp import kubernetes

    if secret.environment:
        kubernetes.use_secret_as_env(
            task, secret.name, secret.environment, optional=secret.optional
        )
    if secret.mount_path:
        kubernetes.use_secret_as_volume(
            task, secret.name, secret.mount_path, optional=secret.optional
        )
