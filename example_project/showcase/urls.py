"""URLs of the showcase."""

from django.urls import path

from showcase.views import lab

app_name = "showcase"

urlpatterns = [path("", lab, name="lab")]
