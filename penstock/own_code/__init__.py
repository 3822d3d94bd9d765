"""Code of a project's own: found beside the project file, packed into a model, imported there."""
