"""Which fragments are one fragment."""

import pytest
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory
from django.utils import timezone, translation

from django_layercache import trace
from tests.testapp.models import Author


class Counter:
    """Says how often it was asked."""

    def __init__(self):
        self.count = 0

    def __str__(self):
        self.count += 1
        return str(self.count)


def compiled(source, **options):
    return Template("{% load layercache %}" + source, **options)


def render(source, autoescape=True, **context):
    return compiled(source).render(Context(context, autoescape=autoescape))


TEASER = '{% layercache 600 "teaser" vary %}{{ counter }}{% endlayercache %}'


def test_the_second_rendering_is_answered_from_the_store():
    counter = Counter()
    assert [render(TEASER, vary=1, counter=counter) for _ in range(2)] == ["1", "1"]


def test_what_it_varies_on_tells_fragments_apart():
    counter = Counter()
    assert [render(TEASER, vary=vary, counter=counter) for vary in (1, "1", None)] == list("123")


def test_the_name_tells_fragments_apart():
    counter = Counter()
    other = TEASER.replace("teaser", "other")
    assert [render(source, vary=1, counter=counter) for source in (TEASER, other)] == list("12")


def test_changed_markup_is_not_shown_as_it_was():
    render('{% layercache 600 "x" %}old{% endlayercache %}')
    assert render('{% layercache 600 "x" %}new{% endlayercache %}') == "new"


def test_a_changed_tag_inside_is_not_shown_as_it_was():
    render('{% layercache 600 "x" %}{{ a }}{% endlayercache %}', a=1, b=2)
    assert render('{% layercache 600 "x" %}{{ b }}{% endlayercache %}', a=1, b=2) == "2"


def locmem(**templates):
    from django.template import Engine

    return Engine(
        loaders=[("django.template.loaders.locmem.Loader", templates)],
        libraries={"layercache": "django_layercache.templatetags.layercache"},
    )


@pytest.mark.parametrize(
    "included", ("inner", '{% include "deep" %}', '{% extends "deep" %}', '{% include "a" %}')
)
def test_a_changed_included_template_is_not_shown_as_it_was(included):
    page = '{% load layercache %}{% layercache 600 "x" %}{% include "a" %}{% endlayercache %}'
    if included == '{% include "a" %}':
        included = "{% if False %}" + included + "{% endif %}"

    def shown(text):
        engine = locmem(page=page, a=included.replace("inner", text), deep=text)
        return engine.get_template("page").render(Context({}))

    first, second = shown("old"), shown("new")
    assert (first, second) == (("old", "new") if "if False" not in included else ("", ""))


def test_two_templates_do_not_share_a_fragment_by_accident():
    page = '{% load layercache %}{% layercache 600 "x" %}{{ a }}{% endlayercache %}'
    engine = locmem(one=page, two=page)
    assert engine.get_template("one").render(Context({"a": 1})) == "1"
    assert engine.get_template("two").render(Context({"a": 2})) == "2"


def test_each_language_has_its_own_fragment(settings):
    settings.USE_I18N = True
    counter = Counter()
    with translation.override("de"):
        render(TEASER, vary=1, counter=counter)
    with translation.override("fr"):
        assert render(TEASER, vary=1, counter=counter) == "2"


def test_each_time_zone_has_its_own_fragment():
    counter = Counter()
    render(TEASER, vary=1, counter=counter)
    with timezone.override("Asia/Tokyo"):
        assert render(TEASER, vary=1, counter=counter) == "2"


def test_escaped_and_raw_are_two_fragments():
    source = '{% layercache 600 "x" %}{{ a }}{% endlayercache %}'
    assert render(source, a="<b>") == "&lt;b&gt;"
    assert render(source, autoescape=False, a="<b>") == "<b>"


def test_an_empty_fragment_is_a_hit():
    with trace() as events:
        assert render('{% layercache 600 "x" %}{% endlayercache %}') == ""
        assert render('{% layercache 600 "x" %}{% endlayercache %}') == ""
    assert [event.outcome for event in events] == ["miss", "hit"]


def test_fragments_nest():
    source = (
        '{% layercache 600 "x" %}a{% layercache 9 "y" %}b{% endlayercache %}c{% endlayercache %}'
    )
    assert render(source) == render(source) == "abc"


@pytest.mark.parametrize("timeout", ("600", "None", "0.5", "later", "'600'", "later|add:1"))
def test_timeouts(timeout):
    source = f'{{% layercache {timeout} "x" %}}{{{{ counter }}}}{{% endlayercache %}}'
    counter = Counter()
    assert [render(source, counter=counter, later=60) for _ in range(2)] == ["1", "1"]


def test_a_timeout_of_zero_stores_nothing():
    counter = Counter()
    source = TEASER.replace("600", "0")
    assert [render(source, vary=1, counter=counter) for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize(
    ("source", "message"),
    (
        ("{% layercache %}{% endlayercache %}", "needs a timeout and a name"),
        ("{% layercache 600 %}{% endlayercache %}", "needs a timeout and a name"),
        ('{% layercache -1 "x" %}{% endlayercache %}', "makes no sense"),
        ('{% layercache "soon" "x" %}{% endlayercache %}', "number of seconds"),
        ('{% layercache 600 "x" using="y" %}{% endlayercache %}', "takes no 'using"),
        ('{% layercache 600 "x" %}', "Unclosed tag"),
    ),
)
def test_mistakes_are_reported_when_the_template_is_compiled(source, message):
    with pytest.raises(TemplateSyntaxError, match=message):
        compiled(source)


@pytest.mark.parametrize("timeout", (-1, "soon", object(), True))
def test_a_bad_timeout_in_a_variable_is_reported_when_it_is_rendered(timeout):
    with pytest.raises(TemplateSyntaxError, match=r"'later' is .*number of seconds"):
        render('{% layercache later "x" %}{% endlayercache %}', later=timeout)


def test_an_unknown_variable_varies_like_none():
    counter = Counter()
    assert render(TEASER, counter=counter) == render(TEASER, vary=None, counter=counter) == "1"


def test_the_name_needs_no_quotes():
    with trace() as events:
        render("{% layercache 600 teaser %}{% endlayercache %}")
    assert ":teaser:" in events[0].key


def test_what_cannot_be_keyed_is_reported():
    with pytest.raises(
        TemplateSyntaxError, match="cannot vary on 'thing', which is an instance of object"
    ):
        render('{% layercache 600 "x" thing %}{% endlayercache %}', thing=object())


@pytest.mark.django_db(transaction=True)
def test_a_fragment_depends_on_what_it_read():
    source = (
        '{% layercache 600 "x" %}{% for a in authors %}{{ a.name }}{% endfor %}{% endlayercache %}'
    )

    def shown():
        return render(source, authors=Author.objects.order_by("name"))

    Author.objects.create(name="Ada")
    assert shown() == "Ada"
    with trace() as events:
        shown()
    assert events[-1].outcome == "hit"
    Author.objects.create(name="Bob")
    assert shown() == "AdaBob"


@pytest.mark.parametrize(
    "inside", ("{% csrf_token %}", "{{ csrf_token }}", "{% if csrf_token %}x{% endif %}")
)
def test_a_fragment_with_a_csrf_token_is_not_stored(inside):
    from django.template import engines

    template = engines["django"].from_string(
        "{% load layercache %}{% layercache 600 'x' %}" + inside + "{% endlayercache %}"
    )
    with trace() as events:
        for _ in range(2):
            template.render({}, RequestFactory().get("/"))
    assert [event.outcome for event in events] == ["miss", "miss"]
    assert "CSRF token" in events[0].reason


def test_a_fragment_beside_a_csrf_token_is_stored():
    from django.template import engines

    template = engines["django"].from_string(
        "{% load layercache %}{% csrf_token %}{% layercache 600 'x' %}y{% endlayercache %}"
    )
    with trace() as events:
        for _ in range(2):
            template.render({}, RequestFactory().get("/"))
    assert [event.outcome for event in events] == ["miss", "hit"]


BASE = "{% load layercache %}{% layercache 600 'x' %}[{% block b %}base{% endblock %}]{% endlayercache %}"


def test_a_block_inside_shows_what_replaces_it():
    def page(text):
        return '{% extends "base" %}{% block b %}' + text + "{% endblock %}"

    engine = locmem(base=BASE, one=page("one"), two=page("two"), three=page("{{ block.super }}3"))
    shown = [
        engine.get_template(name).render(Context({})) for name in ("base", "one", "two", "three")
    ]
    assert shown == ["[base]", "[one]", "[two]", "[base3]"]
    with trace() as events:
        engine.get_template("one").render(Context({}))
    assert events[0].outcome == "hit"


def test_a_template_that_is_named_by_a_variable_counts():
    page = "{% load layercache %}{% layercache 600 'x' %}{% include name %}{% endlayercache %}"
    engine = locmem(page=page, a="A", b="B")
    shown = [engine.get_template("page").render(Context({"name": name})) for name in "aba"]
    assert shown == ["A", "B", "A"]
