"""Which of Django's test apps run together in one process."""

from pathlib import Path

__all__ = ["groups_of"]

#: What the ORM is tested by.
CORE = """
    basic queries aggregation aggregation_regress annotations expressions expressions_case expressions_window
    lookup ordering get_or_create update bulk_create delete delete_regress m2m_and_m2o m2m_intermediary
    m2m_multiple m2m_recursive m2m_regress m2m_signals m2m_through m2m_through_regress many_to_many many_to_one
    many_to_one_null m2o_recursive model_inheritance model_inheritance_regress prefetch_related select_related
    select_related_onetoone select_related_regress proxy_models proxy_model_inheritance raw_query transactions
    transaction_hooks multiple_database defer defer_regress db_functions dates datetimes distinct_on_fields
    generic_relations generic_relations_regress one_to_one or_lookups xor_lookups null_queries null_fk
    null_fk_ordering custom_columns custom_lookups custom_managers custom_methods custom_pk composite_pk
    model_fields filtered_relation from_db_value known_related_objects foreign_object reverse_lookup signals
    timezones validation force_insert_update constraints indexes select_for_update mutually_referential
    nested_foreign_keys extra_regress db_utils db_typecasts queryset_pickle string_lookup
    get_earliest_or_latest get_object_or_404 order_with_respect_to save_delete_hooks update_only_fields
    unmanaged_models datatypes field_defaults field_subclassing managers_regress max_lengths model_regress
    model_utils properties reserved_names str swappable_models empty empty_models async model_meta
    model_options model_enums model_indexes
""".split()
LIGHT = "basic queries aggregation lookup update delete".split()
#: They need libraries of the system, or are no tests.
LEFT_OUT = {"gis_tests", "import_error_package", "test_runner_apps"}
#: They are long, or leave something behind, or look at what others leave.
ALONE = set(
    """
    admin_docs admin_scripts admin_views app_loading apps auth_tests backends cache contenttypes_tests fixtures
    fixtures_regress i18n inspectdb introspection migrate_signals migrations migrations2 postgres_tests schema
    sessions_tests sites_framework staticfiles_tests test_runner test_utils
    """.split()
)


class Group(tuple[str, ...]):
    """Names of apps."""

    __slots__ = ()

    def __str__(self) -> str:
        text = " ".join(self)
        return text if len(text) < 60 else f"{text[:56]} ..."


def groups_of(source: Path, only: list[str], *, small: bool) -> list[Group]:
    """The apps that *only* names, in groups; *small* ones where each test empties the tables of its group."""
    everything = sorted(
        path.parent.name
        for path in (source / "tests").glob("*/__init__.py")
        if path.parent.name not in LEFT_OUT
    )
    sets = {
        "core": CORE,
        "light": LIGHT,
        "wider": [name for name in everything if name not in CORE],
    }
    wanted = [name for word in only for name in sets.get(word, [word])]
    unknown = [name for name in wanted if name not in everything and name not in CORE]
    if unknown:
        raise SystemExit(f"{source} has no tests called {', '.join(unknown)}.")
    groups = list(_grouped([name for name in wanted if name in everything], 3 if small else 12))
    if not groups:
        raise SystemExit(f"{source} has no tests.")
    return groups


def _grouped(names: list[str], size: int) -> list[Group]:
    groups = [Group([name]) for name in names if name in ALONE]
    rest = [name for name in names if name not in ALONE]
    return [Group(rest[at : at + size]) for at in range(0, len(rest), size)] + groups
