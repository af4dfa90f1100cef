"""Wrong settings are reported by the system checks, with a hint, before anybody notices otherwise."""

import sys
from unittest.mock import patch

import pytest
from django.conf import settings
from django.core import checks
from django.test import override_settings

from django_layercache import checks as our_checks
from django_layercache.querysets import rawsql

LAYERCACHE = "django_layercache.middleware.LayerCacheMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


def ids(check=our_checks.check_settings, **settings):
    with override_settings(**settings):
        return [message.id for message in check()]


def settings_ids(**layercache):
    return ids(LAYERCACHE=layercache)


def test_the_defaults_are_fine():
    assert settings_ids() == []


def test_a_project_without_the_setting_is_fine():
    assert ids(LAYERCACHE={}) == []


def test_good_settings_are_fine():
    assert (
        settings_ids(
            TIMEOUT=None,
            JITTER=0,
            LEASE=0.5,
            GRACE=0,
            ENABLED=False,
            ON_OUTAGE="refuse",
            NAMESPACE="blue",
            MODELS={"testapp.post": {"timeout": 60}, "auth.*": {}, "*": False},
        )
        == []
    )


@pytest.mark.parametrize("value", [["TIMEOUT"], "TIMEOUT", 3, None])
def test_something_that_is_not_a_dictionary_is_an_error(value):
    assert ids(LAYERCACHE=value) == ["layercache.E001"]


def test_an_unknown_setting_is_an_error_that_names_the_nearest():
    with override_settings(LAYERCACHE={"TIMEOUTS": 3}):
        (message,) = our_checks.check_settings()
    assert message.id == "layercache.E002"
    assert "'TIMEOUT'" in message.hint


@pytest.mark.parametrize(
    "databases",
    [
        {"other": {"replica_of": "default", "max_lag": 5}},
        {"other": {"replica_of": "default", "max_lag": 0}, "default": {"identity": "main"}},
        {"other": {}},
        {"other": {"serializable_hits": True}},
    ],
)
def test_good_databases_are_fine(databases):
    assert settings_ids(DATABASES=databases) == []


@pytest.mark.parametrize(
    "databases",
    [
        ["other"],
        {"nowhere": {"replica_of": "default", "max_lag": 5}},
        {"other": "default"},
        {"other": {"replica_of": "default"}},  # SQLite cannot tell
        {"other": {"replica_of": "nowhere", "max_lag": 5}},
        {"other": {"replica_of": "other", "max_lag": 5}},
        {"other": {"replica_of": "default", "max_lag": -1}},
        {"other": {"replica_of": "default", "max_lag": "5"}},
        {"other": {"max_lag": 5}},
        {"other": {"lag": 5}},
        {"other": {"identity": 5}},
        {"other": {"serializable_hits": "yes"}},
    ],
)
def test_databases_that_cannot_be_are_errors(databases):
    assert settings_ids(DATABASES=databases) == ["layercache.E012"]


@pytest.mark.parametrize(
    "tenants",
    [
        {"TENANT": "django.utils.translation.get_language", "TENANT_MODELS": ["testapp.*"]},
        {"TENANT": lambda: None, "TENANT_MODELS": ("testapp.Post", "auth.user_groups")},
    ],
)
def test_good_tenants_are_fine(tenants):
    assert settings_ids(**tenants) == []


@pytest.mark.parametrize(
    ("tenants", "expected"),
    [
        ({"TENANT": "nowhere.at_all"}, "layercache.E015"),
        ({"TENANT": "django.conf.settings"}, "layercache.E015"),
        ({"TENANT": 5}, "layercache.E015"),
        ({"TENANT": lambda request: None}, "layercache.E015"),
        ({"TENANT": "django.utils.translation.activate"}, "layercache.E015"),
        ({"TENANT": lambda: None, "TENANT_MODELS": "testapp.*"}, "layercache.E015"),
        ({"TENANT": lambda: None, "TENANT_MODELS": ["testapp.nothing"]}, "layercache.E007"),
        ({"TENANT_MODELS": ["testapp.post"]}, "layercache.E016"),
    ],
)
def test_tenants_that_cannot_be_are_errors(tenants, expected):
    assert settings_ids(**tenants) == [expected]


def test_a_backend_that_switches_tenants_needs_one():
    databases = {"default": {"ENGINE": "django_tenants.postgresql_backend"}}
    with patch.dict(settings.DATABASES, databases):
        assert settings_ids() == ["layercache.E016"]
        assert settings_ids(TENANT=lambda: "public") == []


@pytest.mark.parametrize("timeout", [-1, "60", True, float("nan"), [1]])
def test_a_timeout_that_is_no_number_of_seconds_is_an_error(timeout):
    assert settings_ids(TIMEOUT=timeout) == ["layercache.E003"]
    assert settings_ids(MODELS={"testapp.post": {"timeout": timeout}}) == ["layercache.E003"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE", 0),
        ("LEASE", None),
        ("GRACE", -1),
        ("JITTER", 1),
        ("JITTER", "10%"),
        ("MAX_BYTES", 0),
        ("MAX_ENTRY_BYTES", -5),
        ("MAX_ENTRY_BYTES", None),
        ("COMPRESS_FROM", -1),
        ("COMPRESS_FROM", "16k"),
    ],
)
def test_a_number_out_of_its_range_is_an_error(name, value):
    assert settings_ids(**{name: value}) == ["layercache.E004"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("ENABLED", "no"), ("ENABLED", 1), ("ON_OUTAGE", "ignore"), ("NAMESPACE", 7)],
)
def test_a_word_that_is_not_one_of_the_allowed_is_an_error(name, value):
    assert settings_ids(**{name: value}) == ["layercache.E005"]


@pytest.mark.parametrize(
    "models",
    [
        ["testapp.post"],
        {"testapp.post": 60},
        {"testapp.post": {"ttl": 60}},
        {"testapp.post": True},
        {"testapp.post": {"cached": 1}},
        {"testapp.post": {"operations": "get"}},
    ],
)
def test_models_in_the_wrong_form_are_an_error(models):
    assert settings_ids(MODELS=models) == ["layercache.E006"]


def test_good_options_of_a_model_are_fine():
    options = {
        "cached": True,
        "timeout": None,
        "operations": ["get", "fetch", "count", "exists", "aggregate"],
        "max_rows": 100,
        "max_bytes": None,
        "partition_by": ["author", "category_id"],
    }
    assert settings_ids(MODELS={"testapp.post": options}) == []


@pytest.mark.parametrize("limit", [-1, 2.5, "10", True])
@pytest.mark.parametrize("option", ["max_rows", "max_bytes"])
def test_a_limit_that_is_no_whole_number_is_an_error(option, limit):
    assert settings_ids(MODELS={"*": {option: limit}}) == ["layercache.E004"]


@pytest.mark.parametrize(
    ("models", "expected", "meant"),
    [
        ({"testapp.pots": {}}, "layercache.E007", "testapp.post"),
        ({"testapp.post": {"timeouts": 60}}, "layercache.E006", "timeout"),
        ({"testapp.post": {"operations": {"counts"}}}, "layercache.E005", "count"),
        ({"testapp.post": {"partition_by": ["autor"]}}, "layercache.E011", "author"),
    ],
)
def test_a_slip_in_a_models_policy_is_an_error_that_names_the_nearest(models, expected, meant):
    with override_settings(LAYERCACHE={"MODELS": models}):
        (message,) = our_checks.check_settings()
    assert message.id == expected
    assert repr(meant) in message.hint


@pytest.mark.parametrize(
    ("operations", "hint"),
    [
        ("get", "each is 'aggregate', 'count', 'exists', 'fetch' or 'get'."),
        (["x"], "Choose 'aggregate', 'count', 'exists', 'fetch' or 'get'."),
        ([3], "Choose 'aggregate', 'count', 'exists', 'fetch' or 'get'."),
    ],
)
def test_a_hint_lists_what_can_be_chosen_as_it_is_written(operations, hint):
    with override_settings(LAYERCACHE={"MODELS": {"testapp.post": {"operations": operations}}}):
        (message,) = our_checks.check_settings()
    assert message.hint.endswith(hint)


@pytest.mark.parametrize("name", ["testapp.pots", "nowhere.*", "Post", 3])
def test_a_model_that_does_not_exist_is_an_error(name):
    assert settings_ids(MODELS={name: {}}) == ["layercache.E007"]


@pytest.mark.parametrize(
    "procedures",
    [
        ["refresh"],
        {"refresh": "testapp.post"},
        {"refresh": None},
        {"refresh": ["testapp.pots"]},
        {"refresh": ["testapp.post", "elsewhere_table"]},
        {"refresh": [3]},
        {"refresh": {"reads": ["testapp.pots"]}},
        {"refresh": {"reads": None}},
        {"refresh": {"changes": "testapp.post", "reads": []}},
        {"refresh": {"writes": []}},
    ],
)
def test_procedures_that_change_what_is_no_model_are_an_error(procedures):
    assert settings_ids(PROCEDURES=procedures) == ["layercache.E013"]


def test_procedures_that_change_models_or_their_tables_are_fine():
    good = {"refresh": ["testapp.Post", "testapp_author"], "app.log": [], "other": ("auth.user",)}
    good |= {"pure": {"reads": []}, "both": {"reads": ["auth.user"], "changes": ["testapp.post"]}}
    assert settings_ids(PROCEDURES=good) == []


@pytest.mark.parametrize("alias", ["elsewhere", 3])
def test_a_cache_alias_that_is_missing_is_an_error(alias):
    assert settings_ids(CACHE=alias) == ["layercache.E008"]


def test_a_cache_that_is_neither_redis_nor_memcached_is_a_warning():
    assert settings_ids(CACHE="default") == []
    files = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "unused"}
    with override_settings(CACHES={**settings.CACHES, "files": files}):
        for alias, found in (("files", ["layercache.W007"]), ("memcached", []), ("nowhere", [])):
            assert ids(our_checks.check_exactness, LAYERCACHE={"CACHE": alias}) == found


def test_a_cache_that_each_process_has_for_itself_is_a_warning():
    found = ids(our_checks.check_exactness, LAYERCACHE={"CACHE": "default"})
    assert found == ["layercache.W009"]


@pytest.mark.parametrize("backend", ["dummy.DummyCache", "db.DatabaseCache"])
def test_a_cache_that_cannot_be_a_store_is_an_error(backend):
    place = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": "t"}
    found = ids(LAYERCACHE={"CACHE": "chosen"}, CACHES={"default": place, "chosen": place})
    assert found == ["layercache.E009"]


def test_a_cache_whose_backend_cannot_be_imported_is_an_error():
    found = ids(LAYERCACHE={"CACHE": "broken"}, CACHES={"broken": {"BACKEND": "nowhere.Cache"}})
    assert found and found[0] in {"layercache.E009", "layercache.E010"}


@pytest.mark.parametrize(
    ("backend", "module", "extra"),
    [
        ("redis.RedisCache", "redis", "redis"),
        ("memcached.PyMemcacheCache", "pymemcache", "memcached"),
        ("memcached.PyLibMCCache", "pylibmc", None),
    ],
)
def test_a_client_library_that_is_missing_comes_with_its_extra(monkeypatch, backend, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    place = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": "redis://x"}
    with override_settings(LAYERCACHE={"CACHE": "new"}, CACHES={"new": place}):
        (message,) = our_checks.check_settings()
    assert message.id == "layercache.E010"
    assert message.hint == (
        f"pip install 'django-layercache[{extra}]'" if extra else "Install its client library."
    )


def test_the_middleware_belongs_in_front_of_what_makes_a_page_personal():
    check = our_checks.check_middleware
    assert ids(check, MIDDLEWARE=[SESSIONS, LAYERCACHE]) == ["layercache.W001"]
    assert ids(check, MIDDLEWARE=[LAYERCACHE, SESSIONS]) == []
    assert ids(check, MIDDLEWARE=[SESSIONS]) == []


def test_a_missing_sql_parser_is_a_warning(monkeypatch):
    assert our_checks.check_parsers() == []
    monkeypatch.setattr(rawsql, "HAS_PARSER", False)
    assert [message.id for message in our_checks.check_parsers()] == ["layercache.W002"]


def test_the_local_store_is_a_warning_when_deploying():
    assert ids(our_checks.check_deployment, LAYERCACHE={}) == ["layercache.W003"]
    named = {"CACHE": "redis", "NAMESPACE": "shop"}
    assert ids(our_checks.check_deployment, LAYERCACHE=named) == []


def test_a_shared_server_without_a_namespace_is_a_warning_when_deploying(settings):
    check, unnamed = our_checks.check_deployment, {"CACHE": "redis"}
    assert ids(check, LAYERCACHE=unnamed) == ["layercache.W008"]
    prefixed = {"redis": {**settings.CACHES["redis"], "KEY_PREFIX": "shop"}}
    assert ids(check, LAYERCACHE=unnamed, CACHES=prefixed) == []
    assert ids(check, LAYERCACHE={"CACHE": "gone"}) == []


@pytest.mark.django_db(databases="__all__")  # models with computed columns ask for the version
def test_the_checks_are_registered():
    with override_settings(LAYERCACHE={"TIMEOUT": -1}):
        assert "layercache.E003" in [message.id for message in checks.run_checks()]


def test_every_message_has_a_hint():
    wrong = {"TIMEOUT": -1, "JITTER": 3, "ENABLED": 7, "MODELS": {"no.no": 3}, "CACHE": "x", "Y": 1}
    with override_settings(LAYERCACHE=wrong):
        messages = our_checks.check_settings()
    assert len(messages) >= 6
    assert all(message.hint for message in messages)


REDIS = {"CACHE": "redis"}
NEAR = our_checks.check_near


@pytest.mark.parametrize(
    "near",
    (
        True,
        "strict",
        {"freshnes": "strict"},
        {"freshness": "never"},
        {"freshness": ["strict"]},
        {"max_bytes": 0},
        {"max_bytes": "64M"},
        {"max_bytes": True},
    ),
)
def test_a_near_tier_that_cannot_be_is_an_error(near):
    assert ids(NEAR, LAYERCACHE={**REDIS, "NEAR": near}) == ["layercache.E014"]


@pytest.mark.parametrize("near", (None, {}, {"freshness": "strict", "max_bytes": 1000}))
def test_a_near_tier_in_front_of_a_shared_store_is_fine(near):
    assert ids(NEAR, LAYERCACHE={**REDIS, "NEAR": near}) == []


def test_a_near_tier_in_front_of_a_store_in_the_process_is_of_no_use():
    assert ids(NEAR, LAYERCACHE={"NEAR": {}}) == ["layercache.W004"]


@pytest.mark.parametrize("name", ("LayerCacheMiddleware", "TokenSnapshotMiddleware"))
def test_a_request_has_to_begin_somewhere(name):
    layercache = {**REDIS, "NEAR": {"freshness": "request"}}
    assert ids(NEAR, LAYERCACHE=layercache, MIDDLEWARE=[]) == ["layercache.W005"]
    middleware = [f"django_layercache.middleware.{name}"]
    assert ids(NEAR, LAYERCACHE=layercache, MIDDLEWARE=middleware) == []


@pytest.mark.parametrize(
    ("cache", "found"),
    (("redis", []), ("memcached", ["layercache.E017"]), ("default", ["layercache.E017"])),
)
def test_not_every_server_can_push(cache, found):
    layercache = {"CACHE": cache, "NEAR": {"freshness": "pushed"}}
    assert ids(NEAR, LAYERCACHE=layercache) == found
