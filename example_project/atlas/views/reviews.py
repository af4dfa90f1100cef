"""Writing reviews."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from atlas.forms import ReviewForm
from atlas.models import Airport, Review


@require_POST
@login_required
def write(request: HttpRequest, code: str) -> HttpResponse:
    """Write, change or delete one's own review of an airport."""
    airport = get_object_or_404(Airport, code=code)
    own = Review.objects.filter(airport=airport, author=request.user.pk).first()
    if "delete" in request.POST:
        if own:
            own.delete()
        messages.success(request, "Your review is gone.")
        return redirect(airport)
    form = ReviewForm(request.POST, instance=own or Review(airport=airport, author=request.user))
    if not form.is_valid():
        return render(
            request,
            "atlas/form.html",
            {"form": form, "title": f"Review {airport.name}", "back": airport},
        )
    form.instance.created = timezone.now()
    form.save()
    messages.success(request, "Thank you. Your review is on the page, for everybody and at once.")
    return redirect(airport)
