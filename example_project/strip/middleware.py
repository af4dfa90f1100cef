"""The middleware that watches a request and writes what it saw into the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from django_layercache import trace
from strip.report import Queries, Report

BODY_ENDS = b"</body>"

#: An entry of the WSGI environment (so no visitor can send it) which asks for the page as it is, without a strip.
NO_STRIP = "strip.leave_out"


class StripMiddleware:
    """Adds the strip to HTML pages, and a `Server-Timing` header to every answer.

    It stands outside of the page cache: what it writes is about one request and must never be stored. It is written
    for synchronous servers only; Django itself adapts it where the server is asynchronous.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        with trace() as events, count_queries() as queries:
            response = self.get_response(request)
        report = Report(tuple(events), queries, time.perf_counter() - started)
        response.headers["Server-Timing"] = report.server_timing()
        if takes_a_strip(request, response):
            insert(response, render_to_string("strip/strip.html", {"report": report}))
        return response


@contextmanager
def count_queries() -> Iterator[Queries]:
    """Count what reaches a database, on any connection, inside the block."""
    queries = Queries()

    def count(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            queries.add(sql, time.perf_counter() - started)

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(count))
        yield queries


def takes_a_strip(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether this is a whole HTML page of the site. The admin has a look of its own: left alone."""
    return (
        NO_STRIP not in request.META
        and isinstance(response, HttpResponse)
        and response.headers.get("Content-Type", "").startswith("text/html")
        and not response.has_header("Content-Encoding")
        and not request.path.startswith("/admin/")
        and BODY_ENDS in response.content
    )


def insert(response: HttpResponse, html: str) -> None:
    """Put *html* at the end of the page's body."""
    before, end, after = response.content.rpartition(BODY_ENDS)
    response.content = before + html.encode(response.charset) + end + after
    if response.has_header("Content-Length"):
        response.headers["Content-Length"] = str(len(response.content))
    # They are about the page without its strip: with them the browser would be told "not modified" and show an old one.
    for validator in ("ETag", "Last-Modified"):
        if response.has_header(validator):
            del response.headers[validator]
