"""The project file's section `monitoring`."""
