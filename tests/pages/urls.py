"""Views of all kinds. Each says how often it was asked, so that a test can see who answered."""

from collections import Counter

from django.contrib import messages
from django.contrib.auth import alogin
from django.http import HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.vary import vary_on_headers

from django_layercache.decorators import cache_view
from tests.testapp.models import Author

asked = Counter()


def count(name):
    asked[name] += 1
    return asked[name]


def template(source):
    return engines["django"].from_string(source)


def plain(request):
    return HttpResponse(f"plain {count('plain')} {request.GET.get('q', '')}")


def authors(request):
    count("authors")
    return HttpResponse(", ".join(a.name for a in Author.objects.order_by("name")))


def rendered(request):
    count("rendered")
    return TemplateResponse(
        request,
        template("{% for a in authors %}{{ a.name }}{% endfor %}!"),
        {"authors": Author.objects.order_by("name")},
    )


def greeting(request):
    count("greeting")
    who = request.user.username if request.user.is_authenticated else "stranger"
    return HttpResponse(f"Hello {who}")


async def agreeting(request):
    count("agreeting")
    user = await request.auser()
    who = user.username if user.is_authenticated else "stranger"
    return HttpResponse(f"Hello {who}")


def form(request):
    count("form")
    return HttpResponse(template("{% csrf_token %}").render({}, request))


def cookie(request):
    response = HttpResponse(f"cookie {count('cookie')}")
    response.set_cookie("visits", asked["cookie"])
    return response


def basket(request):
    count("basket")
    request.session["basket"] = [*request.session.get("basket", []), 1]
    return HttpResponse(str(len(request.session["basket"])))


def read_basket(request):
    count("read_basket")
    return HttpResponse(str(len(request.session.get("basket", []))))


def session_key(request):
    count("session_key")
    return HttpResponse(str(request.session.session_key))


def say(request):
    messages.info(request, "saved")
    return HttpResponse("said")


def show_messages(request):
    count("show_messages")
    return HttpResponse(template("{% for m in messages %}{{ m }}{% endfor %}").render({}, request))


def status(request, code):
    return HttpResponse(f"status {count('status')}", status=code)


def stream(request):
    return StreamingHttpResponse([f"stream {count('stream')}"])


def fail(request):
    count("fail")
    if asked["fail"] == 1:
        raise ValueError("once")
    return HttpResponse("fine")


@never_cache
def never(request):
    return HttpResponse(f"never {count('never')}")


def own(request):
    response = HttpResponse(f"own {count('own')}")
    response.headers["Cache-Control"] = request.GET["say"]
    return response


@vary_on_headers("X-Flavour")
def flavour(request):
    return HttpResponse(f"{request.headers.get('X-Flavour')} {count('flavour')}")


#: What another version of the view differs by may be something else.
varies = ["X-Flavour"]


def redeployed(request):
    response = HttpResponse(f"redeployed {count('redeployed')}")
    patch_vary_headers(response, varies)
    return response


@vary_on_headers("*")
def everything(request):
    return HttpResponse(f"everything {count('everything')}")


def language(request):
    count("language")
    return HttpResponse(translation.get_language())


def moody(request):
    """Chooses a language and a time zone by a cookie that nobody else knows."""
    if "mood" in request.COOKIES:
        translation.activate("de")
        timezone.activate("Asia/Tokyo")
    return HttpResponse(f"{translation.get_language()} {timezone.get_current_timezone_name()}")


def headers(request):
    response = HttpResponse("é", content_type="text/plain; charset=latin-1", reason="Fine")
    response.headers["X-Own"] = "kept"
    return response


def not_stored(request):
    from django_layercache import no_cache

    no_cache()
    return HttpResponse(f"not stored {count('not_stored')}")


async def aplain(request):
    return HttpResponse(f"aplain {count('aplain')}")


async def aauthors(request):
    count("aauthors")
    return HttpResponse(", ".join([a.name async for a in Author.objects.order_by("name")]))


async def arendered(request):
    return rendered(request)


async def alog_in(request):
    from django.contrib.auth.models import User

    await alogin(request, await User.objects.aget())
    return HttpResponse("in")


class Classy(View):
    def get(self, request):
        return HttpResponse(f"{type(self).__name__} {count('classy')}")

    post = get


class AsyncClassy(View):
    async def get(self, request):
        return HttpResponse(f"AsyncClassy {count('aclassy')}")


@cache_view(timeout=60)
class Decorated(Classy):
    pass


@cache_view
class AsyncDecorated(AsyncClassy):
    pass


@method_decorator(cache_view(timeout=60), name="dispatch")
class Dispatched(Classy):
    pass


@method_decorator(cache_view, name="dispatch")
class AsyncDispatched(AsyncClassy):
    pass


VIEWS = (
    plain, authors, rendered, greeting, agreeting, form, cookie, basket, read_basket, session_key,
    say, show_messages, stream, fail, never, own, flavour, everything, language, moody, headers,
    not_stored, redeployed, aplain, aauthors, arendered, alog_in,
)  # fmt: skip

urlpatterns = [
    *(path(f"{view.__name__}/", view) for view in VIEWS),
    *(path(f"cached/{view.__name__}/", cache_view(timeout=60)(view)) for view in VIEWS),
    path("status/<int:code>/", status),
    path("public/", cache_control(public=True)(plain)),
    path("decorated/", Decorated.as_view()),
    path("adecorated/", AsyncDecorated.as_view()),
    path("dispatched/", Dispatched.as_view()),
    path("adispatched/", AsyncDispatched.as_view()),
    path("as_view/", cache_view(Classy.as_view())),
    path("brief/", cache_view(timeout=20)(plain)),
    path("brief/longer/", cache_view(timeout=100)(cache_view(timeout=20)(plain))),
    path("unkept/", cache_view(timeout=0)(plain)),
    path("aas_view/", cache_view(AsyncClassy.as_view())),
]
