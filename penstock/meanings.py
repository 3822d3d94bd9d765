"""What each metric says, for a reader who is not a statistician."""

from __future__ import annotations

MEANINGS = {
    "roc_auc": "Chance that a row of the positive class scores above a row of the other; "
    "guessing gives 0.5",
    "average_precision": "Precision averaged over all shares of positives found; guessing gives "
    "the share of positives",
    "accuracy": "Share of rows that are predicted right",
    "balanced_accuracy": "Share of each class that is found, averaged over the classes",
    "precision": "Share of the rows called positive that are",
    "recall": "Share of the positives that are found",
    "f1": "Precision and recall in one figure (their harmonic mean)",
    "f1_macro": "F1 of each class, averaged over the classes",
    "roc_auc_ovr": "Chance that a row of a class scores above a row of another for that class, "
    "averaged over the classes",
    "log_loss": "How surprised the stated probabilities are by what was true; 0 is perfect",
    "brier": "Mean squared distance between the stated probability and what was true (1 or 0)",
    "r2": "Share of the target's variation that the model accounts for; the mean alone gives 0",
    "rmse": "Size of a typical error in the target's unit, large ones counting more",
    "mae": "Mean size of the errors, in the target's unit",
    "median_absolute_error": "Half of the errors are smaller than this, in the target's unit",
    "mape": "Mean size of the errors as a share of the true value",
}
