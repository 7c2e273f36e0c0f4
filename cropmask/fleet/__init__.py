"""What workers do: attempts watched in a child process, their outcomes, and their records.

Imports ``tile`` and everything below it.
Nothing that an operator asks afterwards: that is ``operate``.
"""
