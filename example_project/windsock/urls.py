"""URLs of the example site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("atlas.urls")),
    path("lab/", include("showcase.urls")),
    path("members/", include("atlas.member_urls")),
    path("admin/", admin.site.urls),
]
