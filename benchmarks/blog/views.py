from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from benchmarks.blog.models import Category, Post


def page(request: HttpRequest, number: int) -> HttpResponse:
    """A category's page: four queries, twenty posts."""
    category = get_object_or_404(Category, pk=number)
    posts = Post.objects.filter(category=category, is_public=True).select_related("author")
    return render(
        request,
        "blog/page.html",
        {
            "category": category,
            "categories": Category.objects.order_by("name"),
            "posts": posts.order_by("-published_at")[:20],
            "total": posts.count(),
        },
    )
