"""How the store and the outbox are, and why the store is not trusted, if it is not."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from django_layercache import conf
from django_layercache.exceptions import StoreUnavailable
from django_layercache.handlers import get_engine, namespace_in_force
from django_layercache.management.common import ask_store, in_a_line
from django_layercache.querysets.outbox import DatabaseOutbox, Waiting

__all__ = ["facts_about", "in_thread", "in_words"]

T = TypeVar("T")

#: Why the server began a generation: what it has in its register, in words.
_BECAUSE = {
    "cleared": "the cache was cleared",
    "identity": "the server was restarted, or is another one",
    "lost": "the namespace is new, or the server has lost it",
}


def facts_about(databases: list[str] | None) -> dict[str, Any]:
    """What there is to say, in the order in which it is said; ``databases``: whose outboxes, or of all."""
    waiting = in_thread(DatabaseOutbox(databases).waiting)  # before an engine drains it
    facts = {"cache": conf.get("CACHE"), "namespace": namespace_in_force(), **_of_the_store()}
    facts["outbox"] = {alias: _of_an_outbox(found) for alias, found in waiting.items()}
    facts["why not trusted"] = list(_objections(facts))
    return facts


def _of_the_store() -> dict[str, Any]:
    near = conf.get("NEAR")
    facts: dict[str, Any] = {
        "near tier": None if near is None else near.get("freshness", "strict"),
        "reachable": True,
    }
    try:
        ask_store()
        return {**facts, **_of_the_engine()}
    except StoreUnavailable as error:
        return {**facts, "reachable": False, "error": in_a_line(error)}


def _of_the_engine() -> dict[str, Any]:
    engine = get_engine()
    store = getattr(engine.store, "shared", engine.store)
    reading = store.read(None, ())
    facts: dict[str, Any] = {
        "store": type(store).__name__,
        "promise": "exact" if store.exact else "bounded",
        "enabled": engine.enabled,
        "in debt": engine.outages.in_debt,
        "debt": engine.outages.why,
        "generation": reading.sequence[:8],
        "sequence": reading.sequence[8:].lstrip("0") or "0",
        "in grace": reading.in_grace,
    }
    describe: Callable[[], Mapping[str, Any]] = getattr(store, "describe", dict)
    return {**facts, **describe()}


def _of_an_outbox(waiting: Waiting | None) -> dict[str, Any] | None:
    if waiting is None:
        return None
    if waiting.error:
        return {"error": in_a_line(waiting.error)}
    since = waiting.since
    return {"commits": waiting.commits, "since": None if since is None else since.timestamp()}


def _objections(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts["reachable"]:
        yield f"it does not answer: {facts['error']}"
        return
    if not facts["enabled"]:
        yield "ENABLED is False, or an override of CACHES has taken the store away"
    if facts["in debt"]:
        yield facts["debt"] or "what it missed while it was away is being told to it"
    if facts["in grace"]:
        yield "it may have lost marks, and waits until whoever placed one has committed"
    if (replicas := facts.get("replicas")) and replicas["connected"] < replicas["needed"]:
        yield "each mark has to be acknowledged by {needed} of its replicas, and it has {connected}".format(
            **replicas
        )
    for alias, found in facts["outbox"].items():
        if found is not None and found.get("commits"):
            yield f"the outbox of {alias!r} had {_commits(found)} of which it had not heard"


# -- for people ---------------------------------------------------------------------------------


def in_words(facts: Mapping[str, Any]) -> Iterator[str]:
    """A line for each of *facts* that says something."""
    why = facts["why not trusted"]
    for name, value in facts.items():
        if name in {"debt", "because", "error", "why not trusted"}:
            continue
        yield f"{name:<11} {_said(name, value, facts)}".rstrip()
    yield f"{'trusted':<11} {'no: ' + '; '.join(why) if why else 'yes'}"


def _said(name: str, value: Any, facts: Mapping[str, Any]) -> str:
    if name == "outbox":
        return "; ".join(f"{alias}: {_outbox(found)}" for alias, found in value.items())
    if name == "servers":
        return "; ".join(f"{address}: {state}" for address, state in value.items())
    if name == "replicas":
        return f"{value['connected']}, {value['needed']} needed"
    if name == "began":
        return f"{_time(value)}: {_BECAUSE.get(facts['because'], facts['because'])}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "(none)" if value in {None, ""} else str(value)


def _outbox(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "no table (run 'manage.py migrate')"
    return f"cannot be read: {found['error']}" if "error" in found else _commits(found)


def _commits(found: Mapping[str, Any]) -> str:
    number, since = found["commits"], found["since"]
    said = f"{number} commit" if number == 1 else f"{number} commits"
    return said if since is None else f"{said} since {_time(since)}"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def in_thread(call: Callable[[], T]) -> T:
    """What *call* returns. It closes its connections when it is done; the caller may be in the middle of something."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()
