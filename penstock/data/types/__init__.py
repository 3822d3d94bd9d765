"""The one place where a value becomes a typed value: for files, requests and MLflow alike.

- `value`: what one value means in a column, whoever sends it.
- `columns`: whole columns of frames and requests, as numpy arrays; each value as `value` says.
- `texts`: whole columns of the texts of a file, as Arrow arrays; the same values.
- `objects`: columns of Python values, as JSON Lines and databases give them.
- `numbers`, `times`: how a number and a time are written.
- `inference`, with `text_counts` and `assumptions`: how a column of texts is to be read.
- `storage`: the five storage types, and Arrow's types in them.
"""
