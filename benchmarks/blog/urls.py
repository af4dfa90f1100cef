"""The page, bare and kept by the contender of this process."""

from django.conf import settings
from django.urls import path

from benchmarks.blog.views import page
from benchmarks.contenders import CONTENDERS

_kept = CONTENDERS[settings.ASSIGNMENT["contender"]]().view(page)

urlpatterns = [
    path("bare/<int:number>/", page),
    path("kept/<int:number>/", page if _kept is None else _kept),
]
