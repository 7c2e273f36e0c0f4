"""A small true world for demonstrations, tests and benchmarks: made up, and labeled so."""
