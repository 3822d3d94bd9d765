"""The form of a model that the server answers with: ONNX, checked against scikit-learn."""
