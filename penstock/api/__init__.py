"""Penstock from Python: a project, its runs, registered models, datasets.

    import penstock

    project = penstock.Project.load("project.yaml")
    run = project.run()
    penstock.Model(run.registered).predict(frame)

Names and errors are those of the command line, whose commands do the same by the same functions.
What comes back is drawn as a table in a notebook. `import penstock` loads none of it: that happens
when a name is first used.
"""

from penstock.api.dataset import Dataset
from penstock.api.judgement import Judgement
from penstock.api.model import Model
from penstock.api.project import Project
from penstock.api.run import Run, Submitted

__all__ = ["Dataset", "Judgement", "Model", "Project", "Run", "Submitted"]
