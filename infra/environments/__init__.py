"""One file per environment; a new file is a new environment (see ``docs/deploy.md``)."""
