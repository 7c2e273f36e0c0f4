"""Instance types for tiles that a region offers in all its zones.

From a record of ``DescribeInstanceTypeOfferings`` that came with moto 5.2.5; the preflight asks AWS
itself.
"""

from __future__ import annotations

from typing import Final

CAPE_TOWN: Final = (
    *("c5.2xlarge", "c5a.2xlarge", "c5d.2xlarge", "c6i.2xlarge", "c7i.2xlarge", "c8i.2xlarge"),
    *("c5n.2xlarge", "c6in.2xlarge", "m5.2xlarge", "m5d.2xlarge", "m6i.2xlarge", "m7i.2xlarge"),
    "m8i.2xlarge",
)
"""8 CPUs of Intel or AMD and 16 or 32 GiB in ``af-south-1``."""
CAPE_TOWN_ARM: Final = (
    *("c6g.2xlarge", "c6gd.2xlarge", "c7g.2xlarge", "c8g.2xlarge", "c8gn.2xlarge"),
    *("m6g.2xlarge", "m6gd.2xlarge", "m7g.2xlarge", "m8g.2xlarge"),
)
"""The same of Graviton: all nine that there are; ``c6g`` and ``m6gd`` in two of the three zones."""
