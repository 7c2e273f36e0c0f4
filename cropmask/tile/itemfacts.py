"""What is published of a tile: the facts of its item, and the collection of its product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cropmask.contract import VERSION
from cropmask.core.cropmap import Statistics
from cropmask.modelfile.model import Model
from cropmask.product import CALIBRATED, Product
from cropmask.region.attribution import Attribution
from cropmask.stac.collection import make_collection
from cropmask.stac.facts import Document, ItemFacts, ModelFacts, Source, degrees_box
from cropmask.stac.modelitem import model_href
from cropmask.tile.extras import find_calibration
from cropmask.tile.job import Basis, Job


def make_facts(
    job: Job,
    model: Model,
    statistics: Statistics,
    not_applied: Mapping[str, str],
    attribution: Attribution,
    seamless: Document | None = None,
) -> ItemFacts:
    """What the item of a job says."""
    basis = job.basis
    return ItemFacts(
        product=basis.region.product,
        tile=job.task.tile,
        period=job.task.period,
        resolution=basis.resolution,
        run_key=job.run_key,
        run_key_parts=job.parts.short,
        as_of=date_inputs(job),
        software=VERSION,
        model=make_model_facts(basis),
        sources=make_sources(job),
        statistics=statistics,
        masks_not_applied=not_applied,
        synthetic=job.synthetic,
        input_versions={
            name: {"used": choice.used, "passed_over": list(choice.passed_over)}
            for name, choice in job.sources.choices.items()
        },
        attribution=attribution,
        region_title=basis.region.title,
        bands=basis.bands,
        calibrations=make_calibrations(basis, model),
        seamless=seamless,
        half_years=make_half_years(job),
    )


def make_half_years(job: Job) -> Document | None:
    """Which half-years of a season the model has taken for its own; None of a calendar year."""
    period = job.task.period
    if period == period.calendar_year:
        return None
    return {
        "order": job.basis.region.half_years,
        "first": str(job.sources.first.period),
        "second": str(job.sources.second.period),
        "dated_layers": str(period.calendar_year),
    }


def make_calibrations(basis: Basis, model: Model) -> dict[str, str]:
    """Where calibrated percentages are from, by region, if they are asked for."""
    if CALIBRATED.name not in basis.bands:
        return {}
    return {basis.region.name: find_calibration(model)}


def date_inputs(job: Job) -> str:
    """When the newest input was made: no clock in a result, so equal inputs give equal bytes."""
    end = f"{job.task.period.end}T23:59:59Z"
    return max(geomad.created or end for geomad in (job.sources.first, job.sources.second))


def make_model_facts(basis: Basis) -> ModelFacts:
    """The model of a region; a model file of one's own is in no catalog."""
    sha256 = basis.model.sha256
    is_named = basis.model in basis.region.models.values()
    href = model_href(basis.region.name, basis.recipe, sha256) if is_named else None
    return ModelFacts(basis.recipe, sha256, href)


def make_sources(job: Job) -> tuple[Source, ...]:
    """GeoMAD items of a job, in order of time."""
    geomads = sorted((job.sources.first, job.sources.second), key=lambda half: half.period)
    return tuple(Source(geomad.item_id, geomad.href, geomad.title) for geomad in geomads)


def make_product_collection(
    basis: Basis, product: Product, attribution: Attribution, *, synthetic: bool
) -> Document:
    """Collection of a product of maps or series, over all of its region and of no year."""
    if attribution.sensed is not None:
        attribution = replace(attribution, sensed=())
    return make_collection(
        basis.region.title,
        product,
        degrees_box(*basis.boundary.bounds),
        attribution=attribution,
        resolutions=(basis.resolution,),
        bands=() if product.is_series else basis.bands,
        synthetic=synthetic,
    )
