"""A version as a folder that answers without Penstock: ONNX, rules for reading values, a scorer."""
