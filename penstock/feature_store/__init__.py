"""Features of a feature store (Feast), joined to a table of entities as they were known then."""
