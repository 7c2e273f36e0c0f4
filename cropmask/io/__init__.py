"""Doors to the world: one outside thing, one module, one small Protocol, one honest fake."""
