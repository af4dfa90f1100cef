"""Looking around: the front page, lists and detail pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.decorators import method_decorator
from django.views.generic import DetailView, ListView

from atlas import figures, newsroom
from atlas.forms import AirportForm, FilterForm, ReviewForm
from atlas.models import Airport, Collection, Country, Review
from django_layercache import cache_view

PER_PAGE = 24


def home(request: HttpRequest) -> HttpResponse:
    """The front page. Everything slow on it is a fragment or a cached function."""
    picked = (
        Airport.objects.select_related("country")
        .filter(code=newsroom.editors_pick())
        .cached()
        .first()
    )
    context = {
        "pick": picked,
        "totals": figures.totals(),
        "top_rated": figures.top_rated(),
        "latest_reviews": figures.latest_reviews(),
    }
    return render(request, "atlas/home.html", context)


def airport_list(request: HttpRequest) -> HttpResponse:
    """All airports, filtered, sorted and cut into pages. Rows and count come from the queryset layer."""
    form = FilterForm(request.GET)
    conditions = form.conditions()
    paginator = Paginator(filtered(conditions).cached(), PER_PAGE)
    context = {
        "form": form,
        "page": paginator.get_page(request.GET.get("page")),
        "query": urlencode(
            {key: value for key, value in request.GET.items() if key != "page" and value}
        ),
        "chosen": {name: conditions.get(name) for name in ("continent", "country")},
    }
    return render(request, "atlas/airport_list.html", context)


def filtered(conditions: dict[str, Any]) -> QuerySet[Airport]:
    """The airports that the filter form asks for."""
    found = Airport.objects.select_related("country").order_by(
        conditions.get("order") or "name", "code"
    )
    if conditions.get("q"):
        word = conditions["q"]
        found = found.filter(Q(name__icontains=word) | Q(code__iexact=word) | Q(iata__iexact=word))
    if conditions.get("continent"):
        found = found.filter(country__continent=conditions["continent"])
    if conditions.get("country"):
        found = found.filter(country=conditions["country"])
    if conditions.get("scheduled"):
        found = found.exclude(iata="")
    return found


def airport(request: HttpRequest, code: str) -> HttpResponse:
    """One airport: its facts, its neighbours, its reviews."""
    found = get_object_or_404(Airport.objects.select_related("country", "city").cached(), code=code)
    mean, count = figures.rating_of(found.pk)
    context = {
        "airport": found,
        "mean_rating": mean,
        "review_count": count,
        "nearby": Airport.objects.filter(pk__in=found.nearest),
        "reviews": found.reviews.select_related("author"),
        "collections": found.collections.select_related("owner").cached(),
        **_of_the_member(request, found),
    }
    return render(request, "atlas/airport.html", context)


def _of_the_member(request: HttpRequest, found: Airport) -> dict[str, Any]:
    """What only the member who looks at the page may see: their own review and their own lists."""
    if not request.user.is_authenticated:
        return {}
    own = Review.objects.filter(airport=found, author=request.user.pk).first()
    return {
        "own_review": own,
        "review_form": ReviewForm(instance=own),
        "own_collections": Collection.objects.filter(owner=request.user.pk).annotate(
            has_it=Count("airports", filter=Q(airports=found))
        ),
    }


@staff_member_required
def airport_edit(request: HttpRequest, code: str) -> HttpResponse:
    """Correct an airport. A plain `save()`: nothing here says what has to be rebuilt."""
    found = get_object_or_404(Airport, code=code)
    form = AirportForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved. The strip below shows what was rebuilt for it.")
        return redirect(found)
    return render(
        request, "atlas/form.html", {"form": form, "title": f"Edit {found.name}", "back": found}
    )


@method_decorator(cache_view(timeout=3600), name="dispatch")
class CountryList(ListView):
    """All countries by continent."""

    template_name = "atlas/country_list.html"
    context_object_name = "countries"

    def get_queryset(self) -> QuerySet[Country]:
        countries = Country.objects.select_related("continent").annotate(
            airport_count=Count("airports")
        )
        return countries.order_by("continent__name", "name")


@method_decorator(cache_view(timeout=3600), name="dispatch")
class CountryDetail(DetailView):
    """One country: its largest cities, its neighbours and its airports."""

    template_name = "atlas/country.html"
    context_object_name = "country"
    queryset = Country.objects.select_related("continent")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        country = self.object
        scheduled = country.airports.exclude(iata="")
        return super().get_context_data(
            cities=country.cities.all()[:10].cached(),
            neighbours=country.neighbours.all().cached(),
            scheduled=scheduled[:60].cached(),
            scheduled_count=scheduled.cached().count(),
            airport_count=country.airports.cached().count(),
            regions=country.airports.exclude(region="")
            .values("region")
            .annotate(n=Count("pk"))
            .order_by("-n", "region")[:12]
            .cached(),
            **kwargs,
        )
