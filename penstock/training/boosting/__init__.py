"""Families whose trees XGBoost or LightGBM grows."""
