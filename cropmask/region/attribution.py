"""Whom a map is owed to, and on which terms: license, providers, and the line that credits them.

It follows the data: what the region file says goes first, then what the inputs say. What nobody
says is not made up. Documents of others are parsed here, once, into values with limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

OTHER_LICENSE: Final = "other"
"""License that has no SPDX identifier, or that nobody states, as STAC 1.1 writes it."""
MAX_PROVIDERS: Final = 20
"""Most providers of one document; what comes after them is left out."""
MAX_LINE: Final = 200
"""Most characters of a provider's name."""
MAX_TEXT: Final = 1000
"""Most characters of a provider's description, and of an address."""
KNOWN_LICENSES: Final = (
    *("CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC0-1.0", "PDDL-1.0"),
    *("ODbL-1.0", "ODC-By-1.0", "MIT", "Apache-2.0", "OGL-UK-3.0", "etalab-2.0"),
)
"""Licenses of data that a misspelled one is compared with."""

Role = Literal["licensor", "producer", "processor", "host"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""What a provider does, as STAC names it."""

NOTICE: Final = "Contains modified Copernicus Sentinel data"
"""What Copernicus asks for wherever its data are in something."""
_SENTINEL: Final = re.compile(r"sentinel|(?:^|[\W_])s2(?:[\W_]|$)", re.IGNORECASE)
_STAC_LICENSE: Final = re.compile(r"[\w.+-]+")
"""What STAC's schema takes: one identifier, no expression."""


def _check_name(value: str) -> str:
    line = " ".join(value.split())
    if not line or not line.isprintable() or len(line) > MAX_LINE:
        raise ValueError(f"must be a line of at most {MAX_LINE} characters")
    return line


def _check_text(value: str) -> str:
    text = " ".join(value.split())
    if not text.isprintable() or len(text) > MAX_TEXT:
        raise ValueError(f"must be a text of at most {MAX_TEXT} characters")
    return text


def _check_address(value: str) -> str:
    if not is_web_address(value):
        raise ValueError("must be an address that begins with http:// or https://")
    return value


def is_web_address(text: object) -> bool:
    """Whether a text is an http(s) address, without spaces, of a length that one may have."""
    return (
        isinstance(text, str)
        and len(text) <= MAX_TEXT
        and re.fullmatch(r"https?://[^\s<>\"\\]+", text) is not None
        and text.isprintable()
    )


class Provider(BaseModel):
    """An organization that a map, or what it is made from, is owed to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(_check_name)]
    description: Annotated[str, AfterValidator(_check_text)] | None = None
    roles: tuple[Role, ...] = ()
    url: Annotated[str, AfterValidator(_check_address)] | None = None

    @property
    def is_host(self) -> bool:
        """Whether it only keeps the data where they can be fetched."""
        return set(self.roles) == {"host"}


@dataclass(frozen=True, slots=True)
class Attribution:
    """License and providers of data; whatever nobody says is absent."""

    license: str | None = None
    """SPDX identifier, or ``other``."""
    license_url: str | None = None
    """Address of the terms, if somebody names one."""
    providers: tuple[Provider, ...] = ()
    sensed: tuple[int, ...] | None = None
    """Years of the Copernicus Sentinel data inside, empty if they are not known; None if there
    are none."""

    def over(self, base: Attribution) -> Attribution:
        """What this says, and where it says nothing what ``base`` says; providers of both."""
        terms = base if self.license is None else self
        return Attribution(
            terms.license,
            terms.license_url,
            _each_once(self.providers, base.providers),
            base.sensed if self.sensed is None else self.sensed,
        )

    def beside(self, other: Attribution) -> Attribution:
        """What is owed for both together: a license only if it is the same."""
        terms, second = (other, self) if self.license is None else (self, other)
        same = second.license in (None, terms.license) and second.license_url in (
            None,
            terms.license_url,
        )
        named = (terms.license, terms.license_url) if same else (OTHER_LICENSE, None)
        years = None
        if self.sensed is not None or other.sensed is not None:
            years = tuple(sorted({*(self.sensed or ()), *(other.sensed or ())}))
        return Attribution(*named, _each_once(self.providers, other.providers), years)

    def handed_on(self) -> Attribution:
        """What a product made of these data owes: their hosts do not host it."""
        kept = (
            provider.model_copy(
                update={"roles": tuple(role for role in provider.roles if role != "host")}
            )
            for provider in self.providers
            if not provider.is_host
        )
        return replace(self, providers=tuple(kept))

    @property
    def first(self) -> Provider | None:
        """The first provider that does more than keep the data."""
        return next((each for each in self.providers if not each.is_host), None)

    @property
    def credit(self) -> str:
        """Providers and license in a line, such as ``An Agency, CC-BY-4.0``; may be empty."""
        names = [provider.name for provider in self.providers if not provider.is_host]
        if self.license in (None, OTHER_LICENSE):
            return ", ".join(names)
        return ", ".join([*names, str(self.license)]) if names else f"license {self.license}"

    @property
    def line(self) -> str:
        """The credit, and the notice that Copernicus asks for; may be empty."""
        notice = ""
        if self.sensed is not None:
            notice = " ".join([NOTICE, ", ".join(map(str, self.sensed))]).strip()
        return ". ".join(filter(None, (self.credit, notice)))


UNSTATED: Final = Attribution()
"""Nobody says anything."""


def _each_once(*groups: Iterable[Provider]) -> tuple[Provider, ...]:
    """Providers by name, the first of a name; hosts last, as STAC asks."""
    named: dict[str, Provider] = {}
    for provider in (each for group in groups for each in group):
        named.setdefault(provider.name.casefold(), provider)
    return tuple(sorted(named.values(), key=lambda provider: provider.is_host))[:MAX_PROVIDERS]


def find_license(text: str) -> str | None:
    """The SPDX identifier that a text is, as SPDX writes it; None if it is none."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    if len(text) > MAX_LINE or not _STAC_LICENSE.fullmatch(text):
        return None
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def parse_attribution(document: Mapping[str, Any]) -> Attribution:
    """What a STAC item or collection of others says; what is malformed counts as not said."""
    properties = document.get("properties")
    holder = properties if isinstance(properties, dict) else document
    said = holder.get("license")
    known = find_license(said) if isinstance(said, str) and said.strip() else None
    named = known or (OTHER_LICENSE if isinstance(said, str) and said.strip() else None)
    return Attribution(
        license=named,
        license_url=_license_link(document) if named == OTHER_LICENSE else None,
        providers=_each_once(_parse_providers(holder.get("providers"))),
        sensed=() if _names_sentinel(document, holder) else None,
    )


def _license_link(document: Mapping[str, Any]) -> str | None:
    links = document.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "license":
            href = link.get("href")
            if is_web_address(href):
                return str(href)
    return None


def _parse_providers(found: object) -> Iterable[Provider]:
    for each in found[:MAX_PROVIDERS] if isinstance(found, list) else ():
        if not isinstance(each, dict):
            continue
        said = {name: each.get(name) for name in ("description", "url")}
        roles = each.get("roles")
        known = [role for role in ROLES if role in roles] if isinstance(roles, list) else []
        for more in (said, {}):  # a name counts whatever is wrong beside it
            try:
                yield Provider(name=each.get("name"), roles=tuple(known), **more)
                break
            except ValidationError:
                continue


def _names_sentinel(document: Mapping[str, Any], holder: Mapping[str, Any]) -> bool:
    """Whether a document is about data of a Copernicus Sentinel: its platform, else its names."""
    summaries = document.get("summaries")
    places = [holder, summaries if isinstance(summaries, dict) else {}]
    platforms = [str(p[key]) for p in places for key in ("platform", "constellation") if p.get(key)]
    names = [document.get(key) for key in ("id", "collection", "title")]
    names += [holder.get(key) for key in ("title", "odc:product")]
    texts = platforms or [str(name) for name in names if name]
    return any(_SENTINEL.search(text[:MAX_TEXT]) for text in texts)
