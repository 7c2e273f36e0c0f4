"""Documents of the cluster beside the Jobs of :mod:`cropmask.manifests`, as plain values.

They are printed into ``jobs/`` and applied by ``infra/``. Standard library only.
"""
