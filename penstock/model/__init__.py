"""A trained model as a folder: load it after its digest is checked, and ask it."""

from penstock.model.loading import BACKGROUND_NAME as BACKGROUND_NAME
from penstock.model.loading import STEPS as STEPS
from penstock.model.loading import TRUSTED_TYPES as TRUSTED_TYPES
from penstock.model.loading import LoadedModel as LoadedModel
from penstock.model.loading import background as background
from penstock.model.loading import copy_without_export as copy_without_export
from penstock.model.loading import digest_of as digest_of
from penstock.model.loading import export_digest_of as export_digest_of
from penstock.model.loading import file_of as file_of
from penstock.model.loading import is_trusted as is_trusted
from penstock.model.loading import labels_of as labels_of
from penstock.model.loading import load as load
from penstock.model.loading import load_trusted as load_trusted
from penstock.model.loading import positive_index as positive_index
from penstock.model.loading import scoring_part as scoring_part
