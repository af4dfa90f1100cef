"""Members' lists of airports."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from atlas.forms import CollectionForm
from atlas.models import Airport, Collection


def index(request: HttpRequest) -> HttpResponse:
    """All lists; members can start one."""
    form = CollectionForm(request.POST or None)
    if request.method == "POST" and request.user.is_authenticated and form.is_valid():
        form.instance.owner = request.user
        return redirect(form.save())
    found = (
        Collection.objects.select_related("owner")
        .annotate(airport_count=Count("airports"))
        .cached()
    )
    return render(request, "atlas/collection_list.html", {"collections": found, "form": form})


def show(request: HttpRequest, pk: int) -> HttpResponse:
    """One list."""
    collection = get_object_or_404(Collection.objects.select_related("owner").cached(), pk=pk)
    airports = collection.airports.select_related("country").cached()
    return render(
        request, "atlas/collection.html", {"collection": collection, "airports": airports}
    )


@require_POST
@login_required
def collect(request: HttpRequest, code: str) -> HttpResponse:
    """Put an airport on one of one's own lists, or take it off."""
    airport = get_object_or_404(Airport, code=code)
    collection = get_object_or_404(
        Collection, pk=_number(request.POST.get("collection")), owner=request.user.pk
    )
    if collection.airports.filter(pk=airport.pk).exists():
        collection.airports.remove(airport)
        messages.success(request, f"Taken off “{collection.name}”.")
    else:
        collection.airports.add(airport)
        messages.success(request, f"Added to “{collection.name}”.")
    return redirect(airport)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
