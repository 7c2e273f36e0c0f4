"""Documents of the cluster as values, and the Kubernetes API behind one Protocol.

Imports the contract and the errors; the client is loaded only where it is used.
No values of an environment: those belong to ``infra`` and to the site.
"""
