"""Cropland mask of Africa at 10 m, one tile of Sentinel-2 GeoMAD at a time.

Importing the package is free: nothing heavy is loaded here, so that the
infrastructure code can read names from :mod:`cropmask.contract`.
"""

from cropmask.contract import VERSION as __version__  # noqa: N811

__all__ = ["__version__"]
