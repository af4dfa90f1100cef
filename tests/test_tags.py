"""The grammar of tag names."""

import inspect

import pytest

from django_layercache import tags

DB = "0123abcd"


def test_a_table_is_the_same_in_any_case_quoted_or_not_and_in_any_schema():
    names = ["blog_post", "BLOG_POST", '"blog_post"', "`blog_post`", '"public"."blog_post"']
    assert {tags.epoch(DB, name) for name in names} == {"0123abcd:blog_post"}


def test_a_table_whose_name_has_a_separator_in_it_is_not_taken_for_a_row():
    assert tags.epoch(DB, "a#pk=1") != tags.row(DB, "a", "1")
    assert tags.epoch(DB, "a#*") != tags.any_row(DB, "a")


def test_a_name_of_the_users_is_never_a_tables():
    assert tags.named("0123abcd:blog_post") != tags.epoch(DB, "blog_post")
    assert not tags.is_of_database(tags.named("0123abcd:blog_post"), DB)


def test_readable_tags_are_without_the_digits_of_the_database():
    names = [
        tags.database(DB),
        tags.epoch(DB, "blog_post"),
        tags.any_row(DB, "blog_post"),
        tags.row(DB, "blog_post", "5"),
        tags.named("weather"),
    ]
    assert tags.readable(names) == (
        "(database)",
        "blog_post",
        "blog_post#*",
        "blog_post#pk=5",
        "weather",
    )


def test_collapsing_puts_the_table_in_place_of_its_rows_and_leaves_the_rest():
    rows = {tags.row(DB, "blog_post", str(pk)) for pk in range(100)}
    others = {tags.any_row(DB, "blog_post"), tags.named("a#pk=1"), tags.database(DB)}
    unknown = {tags.epoch(DB, "blog_post"), tags.which_rows_of(DB, "blog_post", "pk", "?")}
    assert tags.collapsed(rows | others) == {*unknown, *others}


def _of_a_table():
    """The functions that name something in a table of a database."""
    for name in filter(lambda name: name.islower(), tags.__all__):
        function = getattr(tags, name)
        parameters = list(inspect.signature(function).parameters)
        if parameters[:2] == ["db", "table"]:
            yield pytest.param(function, ["x"] * (len(parameters) - 2), id=name)


@pytest.mark.parametrize(("function", "rest"), list(_of_a_table()))
def test_a_tenant_is_in_the_tags_of_its_own_tables_and_in_no_others(function, rest, monkeypatch):
    monkeypatch.setattr(tags, "_tables_of_tenants", lambda: {"own"})
    plain = function("0123abcd", "own", *rest)
    assert function("0123abcd@acme", "own", *rest) == plain.replace(":own", ":own@acme")
    assert function("0123abcd@acme", "all", *rest) == function("0123abcd", "all", *rest)


@pytest.mark.parametrize(("function", "rest"), list(_of_a_table()))
def test_what_a_tenant_changes_is_changed_for_those_who_have_none(function, rest, monkeypatch):
    monkeypatch.setattr(tags, "_tables_of_tenants", lambda: {"own"})
    tag, plain = (function(db, "own", *rest) for db in ("0123abcd@acme", "0123abcd"))
    assert set(tags.widened([tag])) == {tag, plain}
    assert set(tags.widened([plain])) == {plain, "0123abcd:"}
    shared = function("0123abcd@acme", "all", *rest)
    assert set(tags.widened([shared, "#name", "()function"])) == {shared, "#name", "()function"}
