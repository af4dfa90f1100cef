"""Becoming a member."""

from __future__ import annotations

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from atlas.forms import SignUpForm


def sign_up(request: HttpRequest) -> HttpResponse:
    """Create a member and log in."""
    form = SignUpForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        return redirect("atlas:home")
    return render(
        request, "atlas/form.html", {"form": form, "title": "Sign up", "action": "Sign up"}
    )
