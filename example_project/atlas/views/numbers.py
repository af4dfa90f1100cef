"""The numbers page: an asynchronous view over asynchronous cached functions."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from atlas import figures


async def numbers(request: HttpRequest) -> HttpResponse:
    """Heights and records of all airports."""
    context = {"bands": await figures.heights(), "records": await figures.records()}
    # The page's frame asks who is logged in and reads a fragment: both talk to the database, so not in the event loop.
    return await sync_to_async(render)(request, "atlas/numbers.html", context)
