"""Performance of a served model, before and after its labels come."""
