"""Open Data Cube product definitions, and the list of them that ``dc-sync-products`` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import yaml

from cropmask.grid import CRS
from cropmask.product import BANDS, CREDIT, LICENSE, NODATA, Product
from cropmask.stac.facts import Document


def product_file(name: str) -> str:
    """Key of a product definition below the root of the catalog."""
    return f"{name}/{name}.odc-product.yaml"


def make_odc_product(region_title: str, product: Product, resolution: int = 10) -> str:
    """Text of an ``.odc-product.yaml``, as ``datacube product add`` takes it.

    Parameters
    ----------
    region_title
        The region in words.
    product
        The product.
    resolution
        Pixel size in meters that ``datacube.load`` uses when nothing else is said.
    """
    document: Document = {
        "name": product.name,
        "description": f"Annual cropland extent of {region_title}. Credit: {CREDIT}, {LICENSE}.",
        "metadata_type": "eo3",
        "license": LICENSE,
        "metadata": {"product": {"name": product.name}},
        "storage": {"crs": CRS, "resolution": {"x": resolution, "y": -resolution}},
        "measurements": [
            {
                "name": band.name,
                "aliases": list(band.aliases),
                "dtype": "uint8",
                "nodata": NODATA,
                "units": band.unit,
            }
            for band in BANDS
        ],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def make_products_csv(places: Mapping[str, str]) -> str:
    """Text of ``products.csv``: product name and address of its definition."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("product", "definition"))
    writer.writerows(sorted(places.items()))
    return text.getvalue()
