"""Searching for anything."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from atlas.models import Airport, City, Country
from django_layercache import cached_queries

MOST = 20


def search(request: HttpRequest) -> HttpResponse:
    """Airports, cities and countries whose name has the word in it.

    No index helps to find the middle of a word: three full scans. So all that is asked inside the block is cached.
    """
    word = request.GET.get("q", "").strip()[:60]
    context: dict[str, object] = {"word": word}
    if word:
        with cached_queries(timeout=60):
            context |= {name: list(found) for name, found in questions(word).items()}
    return render(request, "atlas/search.html", context)


def questions(word: str) -> dict[str, QuerySet[Any]]:
    """What is asked of the database for one word, by the name that the template knows it under."""
    code = Q(code__iexact=word) | Q(iata__iexact=word)
    named = Q(name__icontains=word) | Q(municipality__icontains=word)
    return {
        "by_code": Airport.objects.select_related("country").filter(code),
        "airports": Airport.objects.select_related("country").filter(named).exclude(code)[:MOST],
        "cities": City.objects.select_related("country").filter(name__icontains=word)[:MOST],
        "countries": Country.objects.filter(name__icontains=word)[:MOST],
    }
