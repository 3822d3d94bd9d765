"""A version's passport: its evidence in the forms that other tools and authorities read."""
