"""Components that read or change the world outside of their inputs are never taken from a cache.

Kubeflow's cache key holds parameters, the ids of input artifacts, image, command and names of
volumes (docs/submission.md). Whether a task may be taken from it is set on each task, and on by
default, also in the pipelines of others, who cannot know what our steps read.
"""

from __future__ import annotations

from typing import Any

from kfp.dsl.pipeline_task import PipelineTask, TaskState
from kfp.dsl.python_component import PythonComponent


class _Uncached(PythonComponent):  # type: ignore[misc]
    def __call__(self, *args: Any, **kwargs: Any) -> PipelineTask:
        task = super().__call__(*args, **kwargs)
        # Outside of a pipeline the task has run by now.
        return task.set_caching_options(False) if task.state is TaskState.FUTURE else task

    @property
    def pipeline_spec(self) -> Any:
        spec = super().pipeline_spec
        for task in spec.root.dag.tasks.values():
            task.caching_options.enable_cache = False
        return spec


def never_cached(component: PythonComponent) -> PythonComponent:
    """Return the component, with caching off in every task that is made of it.

    A pipeline may turn it on again: `task.set_caching_options(True)`.
    """
    return _Uncached(component.component_spec, component.python_func)
