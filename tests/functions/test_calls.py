"""Which calls are one call, and what a hit gives."""

import inspect
import pickle
import threading

import pytest
from django.utils import timezone, translation

from django_layercache import trace
from django_layercache.decorators import cached
from django_layercache.exceptions import InvalidArgument, UnkeyableArgument


def counted(**options):
    """A cached function with every kind of parameter, and the list of the calls that it computed."""
    calls = []

    @cached(**options)
    def function(a, b=2, *rest, c=3, **more):
        calls.append((a, b, rest, c, more))
        return [a, b, rest, c, more]

    return function, calls


def test_the_second_call_is_answered_from_the_store():
    function, calls = counted()
    assert function(1) == function(1) == [1, 2, (), 3, {}]
    assert len(calls) == 1


def test_the_bare_decorator_caches_too():
    calls = []

    @cached
    def function(a):
        calls.append(a)
        return a

    assert function(1) == function(1) == 1
    assert calls == [1]


@pytest.mark.parametrize(
    "call",
    (
        lambda f: f(a=1),
        lambda f: f(1, 2),
        lambda f: f(b=2, a=1),
        lambda f: f(1, c=3),
        lambda f: f(1, 2, c=3),
    ),
)
def test_ways_to_say_the_same_call_are_one_call(call):
    function, calls = counted()
    function(1)
    call(function)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "call",
    (
        lambda f: f(True),
        lambda f: f(1.0),
        lambda f: f("1"),
        lambda f: f(1, 3),
        lambda f: f(1, 2, 3),
        lambda f: f(1, c=4),
        lambda f: f(1, d=4),
    ),
)
def test_different_calls_are_different(call):
    function, calls = counted()
    function(1)
    call(function)
    assert len(calls) == 2


def test_every_caller_gets_a_copy_of_its_own():
    function, _ = counted()
    function(1).append("mine")
    function(1).append("mine, too")
    assert function(1) == [1, 2, (), 3, {}]


@pytest.mark.parametrize("value", (None, [], "", 0, False))
def test_a_negative_answer_is_a_hit(value):
    calls = []

    @cached
    def function():
        calls.append(1)
        return value

    assert function() == function() == value
    assert len(calls) == 1


def test_a_timeout_of_zero_stores_nothing():
    function, calls = counted(timeout=0)
    function(1)
    function(1)
    assert len(calls) == 2


def test_an_exception_is_not_kept():
    calls = []

    @cached
    def function():
        calls.append(1)
        if len(calls) == 1:
            raise LookupError("not yet")
        return "now"

    with pytest.raises(LookupError):
        function()
    assert function() == "now"


def test_what_cannot_be_pickled_is_returned_and_not_stored():
    @cached
    def function():
        return threading.Lock()

    with trace() as events:
        assert function() is not function()
    assert "cannot be pickled" in events[0].reason


def test_functions_that_a_factory_made_differ_by_what_they_closed_over():
    def make(factor):
        @cached
        def times(number):
            return factor * number

        return times

    assert [make(2)(3), make(5)(3)] == [6, 15]


def test_a_changed_code_does_not_show_old_values():
    def version(source):
        namespace = {"__name__": "shop", "cached": cached}
        exec(f"@cached\ndef price():\n    return {source}", namespace)
        return namespace["price"]

    assert version("1 + 1")() == 2
    assert version("1 + 2")() == 3


def test_each_language_has_its_own_value(settings):
    settings.USE_I18N = True

    @cached
    def language():
        return translation.get_language()

    with translation.override("de"):
        assert language() == "de"
    with translation.override("en"):
        assert language() == "en"


def test_each_time_zone_has_its_own_value():
    @cached
    def zone():
        return timezone.get_current_timezone_name()

    with timezone.override("Asia/Tokyo"):
        assert zone() == "Asia/Tokyo"
    assert zone() == "UTC"


def test_an_argument_that_cannot_be_keyed_is_named():
    function, _ = counted()
    with pytest.raises(UnkeyableArgument, match=r"argument 'b' is an instance of object.*key="):
        function(1, object())


def test_arguments_that_do_not_fit_are_an_error_that_names_the_function():
    function, _ = counted()
    with pytest.raises(TypeError, match=r"\w\(\) missing a required argument"):
        function()
    with pytest.raises(TypeError, match=r"\w\(\) multiple values for argument 'a'"):
        function(1, a=2)


def test_a_key_callable_replaces_the_arguments():
    calls = []

    @cached(key=lambda request, page: (request["path"], page))
    def function(request, page):
        calls.append(page)
        return page

    function({"path": "/", "at": object()}, 1)
    function({"path": "/", "at": object()}, page=1)
    function({"path": "/", "at": object()}, page=2)
    assert calls == [1, 2]


def test_a_key_callable_that_returns_something_unkeyable_is_named():
    function, _ = counted(key=lambda a: object())
    with pytest.raises(UnkeyableArgument, match=r"its key= returned an instance of object"):
        function(1)


@pytest.mark.parametrize("timeout", (-1, "60", True, float("nan"), float("inf"), object()))
def test_a_timeout_that_makes_no_sense_is_refused(timeout):
    with pytest.raises(InvalidArgument, match="timeout"):
        cached(timeout=timeout)(lambda: None)


@pytest.mark.parametrize("tags", ("weather", [1], [""], 5, [object]))
def test_tags_that_make_no_sense_are_refused(tags):
    with pytest.raises(InvalidArgument):
        cached(tags=tags)(lambda: None)


@pytest.mark.parametrize("function", (5, "name", property(lambda self: 1), dict))
def test_what_is_not_a_function_is_refused(function):
    with pytest.raises(InvalidArgument, match="@cached decorates functions"):
        cached(function)


def test_generators_are_refused():
    def numbers():
        yield 1

    async def later():
        yield 1

    for function in (numbers, later):
        with pytest.raises(InvalidArgument, match="generator"):
            cached(function)


def test_a_key_that_is_not_callable_is_refused():
    with pytest.raises(InvalidArgument, match="key="):
        cached(key="name")(lambda: None)


def test_refresh_computes_anew_and_keeps_it():
    calls = []

    @cached
    def count():
        calls.append(1)
        return len(calls)

    assert [count(), count(), count.refresh(), count()] == [1, 1, 2, 2]


def test_get_many_computes_what_is_missing():
    function, calls = counted()
    function(1)
    assert [value[0] for value in function.get_many([(1,), (2,), (3, 4)])] == [1, 2, 3]
    assert [call[0] for call in calls] == [1, 2, 3]
    function.get_many([(2,), (3, 4)])
    assert len(calls) == 3


def test_get_many_wants_tuples():
    function, _ = counted()
    with pytest.raises(InvalidArgument, match="tuple"):
        function.get_many([1, 2])


def test_it_looks_like_the_function():
    @cached
    def function(a: int, *, b: str = "") -> bool:
        """Says nothing."""
        return True

    assert function.__name__ == "function"
    assert function.__doc__ == "Says nothing."
    assert str(inspect.signature(function)) == "(a: int, *, b: str = '') -> bool"
    assert function.__wrapped__(1) is True


@cached
def at_the_top(a):
    return a


def test_it_can_be_pickled_by_name():
    assert pickle.loads(pickle.dumps(at_the_top)) is at_the_top


def test_one_of_many_threads_computes():
    calls = []
    inside, go = threading.Event(), threading.Event()

    @cached
    def slow():
        calls.append(1)
        inside.set()
        go.wait(5)
        return "value"

    values = []
    threads = [threading.Thread(target=lambda: values.append(slow())) for _ in range(5)]
    threads[0].start()
    inside.wait(5)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(5)
    assert (values, calls) == (["value"] * 5, [1])
