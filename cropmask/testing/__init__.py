"""For tests and trials: the made-up world, and stand-ins for queue, store, cluster and metrics.

Imports the Protocols that it stands in for, and the vocabulary.
Nothing that another room computes: a world is input, never a result.
"""
