"""The image, and the manifests that people apply; printed by ``make manifests``."""
