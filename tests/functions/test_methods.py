"""Methods of all kinds."""

import inspect
import sys

import pytest

from django_layercache.decorators import cached
from django_layercache.exceptions import UnkeyableArgument
from tests.testapp.models import Author

calls = []


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


class Shop:
    def __init__(self, name):
        self.name = name

    @cached(key=lambda self, number: (self.name, number))
    def price(self, number):
        """The price."""
        calls.append((self.name, number))
        return number

    @cached
    def unkeyable(self):
        return None

    @cached
    @classmethod
    def made(cls, number=1):
        calls.append((cls, number))
        return cls.__name__, number

    @classmethod
    @cached
    def made_below(cls, number=1):
        calls.append((cls, number))
        return cls.__name__, number

    @cached
    @staticmethod
    def plain(number):
        calls.append(number)
        return number

    @staticmethod
    @cached
    def plain_below(number):
        calls.append(number)
        return number

    @cached(key=lambda self: self.name)
    async def later(self):
        calls.append(self.name)
        return self.name


class Branch(Shop):
    pass


def test_a_method_is_bound():
    a, b = Shop("a"), Shop("b")
    assert [a.price(1), a.price(1), b.price(1), a.price(number=1)] == [1, 1, 1, 1]
    assert calls == [("a", 1), ("b", 1)]


def test_a_bound_method_invalidates_its_own_calls():
    a, b = Shop("a"), Shop("b")
    a.price(1), b.price(1)
    a.price.invalidate(1)
    a.price(1), b.price(1)
    assert calls == [("a", 1), ("b", 1), ("a", 1)]


def test_a_bound_method_has_the_signature_without_self():
    assert str(inspect.signature(Shop("a").price)) == "(number)"
    assert Shop("a").price.__doc__ == "The price."


def test_get_many_of_a_bound_method():
    assert Shop("a").price.get_many([(1,), (2,)]) == [1, 2]


def test_the_error_names_self():
    with pytest.raises(
        UnkeyableArgument, match=r"'self' is an instance of tests\.functions\.test_methods\.Shop"
    ):
        Shop("a").unkeyable()


@pytest.mark.parametrize("name", ("made", "made_below"))
def test_a_class_method_knows_its_class(name):
    for kind in (Shop, Branch, Shop, Branch("x")):
        getattr(kind, name)(2)
    assert calls == [(Shop, 2), (Branch, 2)]


def test_a_class_method_is_invalidated_where_cached_is_on_top():
    Shop.made(2), Branch.made(2)
    Shop.made.invalidate(2)
    Shop.made(2), Branch.made(2)
    assert calls == [(Shop, 2), (Branch, 2), (Shop, 2)]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="class methods used to bind what they hold")
def test_a_class_method_below_wants_its_class_said():
    Shop.made_below(2)
    Shop.made_below.invalidate(Shop, 2)
    Shop.made_below(2)
    assert calls == [(Shop, 2), (Shop, 2)]


@pytest.mark.parametrize("name", ("plain", "plain_below"))
def test_a_static_method_is_not_bound(name):
    for holder in (Shop, Shop("a"), Branch):
        assert getattr(holder, name)(3) == 3
    getattr(Shop("a"), name).invalidate(3)
    getattr(Shop, name)(3)
    assert calls == [3, 3]


async def _twice(method):
    return [await method(), await method()]


def test_an_async_method_is_bound():
    from asgiref.sync import async_to_sync

    assert async_to_sync(_twice)(Shop("a").later) == ["a", "a"]
    assert calls == ["a"]


class Ghost(Author):
    class Meta:
        app_label = "testapp"
        proxy = True

    @cached
    def greeting(self):
        calls.append(self.name)
        return f"I am {self.name}"


@pytest.mark.django_db
def test_a_model_instance_is_keyed_by_its_row():
    ghost = Ghost.objects.create(name="Ada")
    assert ghost.greeting() == Ghost.objects.get(pk=ghost.pk).greeting() == "I am Ada"
    assert calls == ["Ada"]


@pytest.mark.django_db
def test_a_value_computed_from_an_instance_is_never_shown_for_a_newer_one():
    ghost = Ghost.objects.create(name="Ada")
    ghost.greeting()
    Ghost.objects.filter(pk=ghost.pk).update(name="Grace")
    assert Ghost.objects.get(pk=ghost.pk).greeting() == "I am Grace"


@pytest.mark.django_db
def test_an_unsaved_instance_cannot_be_keyed():
    with pytest.raises(UnkeyableArgument, match=r"'self' is an unsaved testapp\.Ghost"):
        Ghost(name="Ada").greeting()
