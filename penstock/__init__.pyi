from penstock.api import Dataset as Dataset
from penstock.api import Judgement as Judgement
from penstock.api import Model as Model
from penstock.api import Project as Project
from penstock.api import Run as Run
from penstock.api import Submitted as Submitted

__version__: str
