"""The newsroom: staff write the announcement and choose the editors' pick."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import user_passes_test
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from atlas import newsroom
from atlas.forms import AnnouncementForm, PickForm


@user_passes_test(lambda user: user.is_staff)
def desk(request: HttpRequest) -> HttpResponse:
    """Two forms; each writes a file and invalidates one tag that was named by hand."""
    if "announce" in request.POST:
        announcement = AnnouncementForm(request.POST)
        if announcement.is_valid():
            newsroom.announce(announcement.cleaned_data["text"])
            return _thank(request, newsroom.ANNOUNCEMENT)
    else:
        announcement = AnnouncementForm(initial={"text": newsroom.announcement()})
    if "pick" in request.POST:
        pick = PickForm(request.POST)
        if pick.is_valid():
            newsroom.pick(pick.cleaned_data["code"])
            return _thank(request, newsroom.EDITORS_PICK)
    else:
        pick = PickForm(initial={"code": newsroom.editors_pick()})
    return render(
        request, "atlas/newsroom.html", {"announcement_form": announcement, "pick_form": pick}
    )


def _thank(request: HttpRequest, tag: str) -> HttpResponse:
    messages.success(
        request,
        f"Saved. Everything that depends on the tag “{tag}” will be rebuilt, and nothing else.",
    )
    return redirect("atlas:newsroom")
