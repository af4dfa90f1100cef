"""What belongs to one visitor is in no fragment that others get to see."""

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.db import SessionStore
from django.middleware.csrf import get_token
from django.template import Context, engines
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from django_layercache import trace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ada():
    return User.objects.create_user("ada")


def request_of(user):
    request = RequestFactory().get("/")
    request.session = SessionStore()
    request._messages = FallbackStorage(request)

    def read_user():
        request.session.get("_auth_user_id")
        return user

    request.user = SimpleLazyObject(read_user)
    return request


def render(inside, user=None, vary="", **context):
    source = (
        f"{{% load layercache %}}{{% layercache 600 'x' {vary} %}}{inside}{{% endlayercache %}}"
    )
    template = engines["django"].from_string(source)
    with trace() as events:
        markup = template.render(context, request_of(user or AnonymousUser()))
    return markup, events[-1].outcome, events[-1].reason


USER = pytest.mark.parametrize(
    "inside",
    ("{{ user.username }}", "{{ request.user.username }}", "{% if user %}{{ user }}{% endif %}"),
)


@USER
def test_a_fragment_that_shows_the_user_is_kept_for_each_user(ada, inside):
    bob = User.objects.create_user("bob")
    shown = [render(inside, user) for user in (ada, bob, ada)]
    assert [markup for markup, *_ in shown] == ["ada", "bob", "ada"]
    assert shown[2][1] == "hit"


@USER
def test_a_fragment_for_a_user_is_not_shown_to_a_stranger(ada, inside):
    assert render(inside, ada)[0] == "ada"
    assert render(inside)[0] in {"", "AnonymousUser"}
    assert render(inside, ada)[0] == "ada"


def test_a_fragment_may_vary_on_less_than_the_whole_user(ada):
    bob = User.objects.create_user("bob")
    inside = "{% if user.is_staff %}staff{% endif %}"
    render(inside, ada, vary="user.is_staff")
    assert render(inside, bob, vary="user.is_staff")[1] == "hit"
    staff = User.objects.create_user("eve", is_staff=True)
    assert render(inside, staff, vary="user.is_staff")[0] == "staff"


def hidden(ask, user):
    """As a tag or a helper of the project may do it, behind the back of the source."""
    template = engines["django"].from_string(
        "{% load layercache %}{% layercache 600 'x' %}{{ helper }}{% endlayercache %}"
    )
    request = request_of(user)
    with trace() as events:
        markup = template.render({"helper": lambda: ask(request)}, request)
    return markup, events[-1]


@pytest.mark.parametrize(
    ("ask", "why"),
    (
        (lambda request: request.user.username, "who the visitor is"),
        (lambda request: request.session.get("basket"), "session"),
        (lambda request: get_token(request), "CSRF"),
    ),
)
def test_what_is_read_behind_the_back_of_the_source_is_not_stored(ada, ask, why):
    _, event = hidden(ask, ada)
    assert why in event.reason
    _, event = hidden(ask, ada)
    assert event.outcome == "miss"


def test_a_user_who_was_asked_for_before_is_noticed_too(ada):
    request = request_of(ada)
    template = engines["django"].from_string(
        "{{ user }}{% load layercache %}{% layercache 600 'x' %}{{ helper }}{% endlayercache %}"
    )
    with trace() as events:
        template.render({"helper": lambda: request.user.username}, request)
    assert "who the visitor is" in events[-1].reason


def test_the_request_is_as_it_was_afterwards(ada):
    request = request_of(ada)
    user = request.user
    get_token(request)
    template = engines["django"].from_string(
        "{{ user }}{% load layercache %}{% layercache 600 'x' %}y{% endlayercache %}"
    )
    template.render({}, request)
    assert request.__dict__["user"] is user
    assert request.session.accessed
    assert request.META["CSRF_COOKIE_NEEDS_UPDATE"]


def test_messages_are_not_shared():
    from django.contrib import messages

    loop = "{% for m in messages %}{{ m }}{% endfor %}"
    source = "{% load layercache %}{% layercache 600 'x' %}" + loop + "{% endlayercache %}"
    request = request_of(AnonymousUser())
    messages.info(request, "saved")
    template = engines["django"].from_string(source)
    with trace() as events:
        assert template.render({}, request) == "saved"
        assert template.render({}, request_of(AnonymousUser())) == ""
    assert "messages" in events[0].reason


def test_a_context_without_a_request_is_fine():
    template = (
        engines["django"]
        .from_string("{% load layercache %}{% layercache 600 'x' %}{{ user }}{% endlayercache %}")
        .template
    )
    assert template.render(Context({"user": "somebody"})) == "somebody"
    assert template.render(Context({"user": "else"})) == "else"
