"""Small helpers for the templates."""

from __future__ import annotations

from django import template
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString

from atlas import figures, newsroom
from atlas.models import Country

register = template.Library()

STARS = 5


@register.simple_tag
def announcement() -> str:
    """The announcement of the editors. Reading it makes the page depend on its tag."""
    return newsroom.announcement()


@register.simple_tag
def countries_by_airports() -> QuerySet[Country]:
    """The countries with the most airports. Used inside a fragment: asked for only when it has to be built."""
    return figures.countries_by_airports()


@register.filter
def stars(rating: float | None) -> SafeString:
    """A rating as stars that a screen reader reads as a number."""
    if rating is None:
        return format_html('<span class="stars none">not rated yet</span>')
    return format_html(
        '<span class="stars" role="img" aria-label="{} of {}" style="--rating:{}"></span>',
        f"{rating:.1f}",
        STARS,
        f"{rating / STARS:.3f}",
    )


@register.filter
def map_x(longitude: float) -> str:
    """How far from the left edge of the map a longitude is, in percent."""
    return f"{(longitude + 180) / 3.6:.2f}%"


@register.filter
def map_y(latitude: float) -> str:
    """How far from the top of the map a latitude is, in percent (the map ends at 75° south)."""
    return f"{(90 - latitude) / 1.65:.2f}%"


@register.filter
def compass(value: float, letters: str) -> str:
    """A coordinate as degrees and minutes: `12.5|compass:"NS"` is 12° 30′ N."""
    degrees, minutes = divmod(round(abs(value) * 60), 60)
    return f"{degrees}° {minutes:02}′ {letters[0] if value >= 0 else letters[1]}"
