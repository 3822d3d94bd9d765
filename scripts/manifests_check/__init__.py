"""`make manifests-check`: what the overlays build to, against schemas and policies."""
