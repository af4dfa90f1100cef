"""URLs for logging in and out, and for becoming a member."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from atlas.views.members import sign_up

urlpatterns = [
    path("log-in/", LoginView.as_view(template_name="atlas/log_in.html"), name="login"),
    path("log-out/", LogoutView.as_view(), name="logout"),
    path("sign-up/", sign_up, name="sign-up"),
]
