"""The pages, as visitors and members see them, with every layer on."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from django.conf import settings
from django.http import HttpResponse
from django.test import Client, TransactionTestCase, override_settings

from atlas import newsroom
from atlas.models import Airport, Collection, Member
from atlas.tests import world
from django_layercache import trace

PAGES = (
    *(
        "/",
        "/airports/",
        "/airports/?country=NO&order=-elevation_ft",
        "/airports/AT00/",
        "/countries/",
    ),
    *("/countries/NO/", "/search/", "/search/?q=field", "/numbers/", "/collections/", "/lab/"),
    *("/members/log-in/", "/members/sign-up/"),
)


class SiteTest(TransactionTestCase):
    """A small world, and newsroom files of its own. Real transactions: caches act on commits."""

    def setUp(self) -> None:
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        own = override_settings(VAR_DIR=directory, LAYERCACHE={**settings.LAYERCACHE, "GRACE": 0})
        own.enable()
        self.addCleanup(own.disable)
        world.build()
        self.visitor, self.ann, self.ben = Client(), self.member("ann"), self.member("ben")

    def member(self, name: str) -> Client:
        """A browser in which somebody has logged in."""
        client = Client()
        client.force_login(Member.objects.get(username=name))
        return client

    def warm(self, client: Client, url: str) -> HttpResponse:
        """Ask twice, so that whatever can be stored is."""
        client.get(url)
        return client.get(url)


class PagesTest(SiteTest):
    """Every page renders, and is cached where it may be."""

    def test_every_page_renders_for_visitors_and_members(self) -> None:
        for client in (self.visitor, self.ann):
            for url in PAGES:
                with self.subTest(url=url):
                    self.assertContains(client.get(url), "</html>")

    def test_the_second_answer_to_a_visitor_comes_from_the_page_layer(self) -> None:
        for url in (
            "/",
            "/airports/",
            "/airports/AT00/",
            "/countries/",
            "/countries/NO/",
            "/numbers/",
            "/search/?q=x",
        ):
            with self.subTest(url=url):
                first = self.visitor.get(url)
                with trace() as events:
                    second = self.visitor.get(url)
                self.assertEqual(
                    [event.outcome for event in events if event.layer == "pages"], ["hit"]
                )
                self.assertIn("layercache; hit", second.headers["Cache-Status"])
                self.assertEqual(_without_strip(first), _without_strip(second))

    def test_a_member_gets_the_layers_inside_from_their_stores(self) -> None:
        self.warm(self.ann, "/")
        with trace() as events:
            self.ann.get("/")
        outcomes = {event.layer: event.outcome for event in events}
        if outcomes.get("pages") != "hit":
            self.assertEqual({outcomes["fragments"], outcomes["functions"]}, {"hit"})

    def test_an_unknown_airport_is_not_found(self) -> None:
        self.assertEqual(self.visitor.get("/airports/NOPE/").status_code, 404)

    def test_an_airport_that_comes_into_being_is_found(self) -> None:
        self.warm(self.visitor, "/airports/NO99/")
        airport = Airport.objects.get(pk="NO00")
        airport.pk = "NO99"
        airport.save(force_insert=True)
        self.assertEqual(self.visitor.get("/airports/NO99/").status_code, 200)

    def test_a_filter_that_makes_no_sense_is_left_out(self) -> None:
        self.assertContains(
            self.visitor.get("/airports/?country=ZZ&order=password&page=x"), "12 airports"
        )


class FreshnessTest(SiteTest):
    """What somebody has written is there for everybody at once."""

    def test_a_new_review_is_on_the_page_at_once(self) -> None:
        self.warm(self.visitor, "/airports/NO01/")
        self.ann.post("/airports/NO01/review/", {"rating": 2, "text": "The windsock is missing."})
        self.assertContains(self.visitor.get("/airports/NO01/"), "The windsock is missing.")
        self.assertContains(self.visitor.get("/"), "The windsock is missing.")

    def test_a_deleted_review_is_gone_at_once(self) -> None:
        self.warm(self.visitor, "/airports/NO00/")
        self.ben.post("/airports/NO00/review/", {"delete": "1"})
        self.assertEqual(self.visitor.get("/airports/NO00/").content.count(b"Fine, NO00."), 1)

    def test_a_corrected_airport_is_right_everywhere(self) -> None:
        for url in ("/airports/AT00/", "/airports/", "/airports/AT01/", "/search/?q=tyrol"):
            self.warm(self.visitor, url)
        self.ann.post("/airports/AT00/edit/", {"name": "Tyrol Field", "elevation_ft": 1900})
        for url in ("/airports/AT00/", "/airports/?q=tyrol", "/airports/AT01/", "/search/?q=tyrol"):
            self.assertContains(self.visitor.get(url), "Tyrol Field")

    def test_an_airport_put_on_a_list_is_on_it_at_once(self) -> None:
        collection = Collection.objects.get()
        self.warm(self.visitor, collection.get_absolute_url())
        self.ann.post("/airports/NO02/collect/", {"collection": collection.pk})
        self.assertContains(self.visitor.get(collection.get_absolute_url()), "Norway Field 2")
        self.assertContains(self.visitor.get("/airports/NO02/"), "To see")

    def test_an_announcement_is_on_every_page_at_once(self) -> None:
        for url in ("/", "/countries/"):
            self.warm(self.visitor, url)
        self.ann.post("/newsroom/", {"announce": "1", "text": "Fog until noon."})
        for url in ("/", "/countries/"):
            self.assertContains(self.visitor.get(url), "Fog until noon.")

    def test_an_edit_leaves_pages_of_other_airports_in_their_store(self) -> None:
        for url in ("/airports/AT00/", "/airports/NO00/"):
            self.warm(self.visitor, url)
        Airport.objects.filter(pk="AT00").update(elevation_ft=4)
        self.assertIn(
            "layercache; hit", self.visitor.get("/airports/NO00/").headers["Cache-Status"]
        )
        self.assertNotIn(
            "layercache; hit", self.visitor.get("/airports/AT00/").headers["Cache-Status"]
        )


class PrivacyTest(SiteTest):
    """Nobody gets a page that was made for somebody else."""

    def test_a_visitor_never_gets_a_members_page(self) -> None:
        for url in ("/", "/airports/NO00/", "/countries/"):
            with self.subTest(url=url):
                self.assertContains(self.warm(self.ann, url), "ann")
                page = self.warm(self.visitor, url)
                self.assertNotContains(page, 'class="who"')
                self.assertNotContains(page, "csrfmiddlewaretoken")

    def test_members_get_their_own_pages_only(self) -> None:
        for url in ("/", "/airports/NO00/", "/countries/"):
            with self.subTest(url=url):
                self.assertContains(self.warm(self.ann, url), ">ann</span>")
                page = self.warm(self.ben, url)
                self.assertContains(page, ">ben</span>")
                self.assertNotContains(page, ">ann</span>")

    def test_who_logs_out_is_a_visitor_again(self) -> None:
        self.warm(self.ann, "/")
        self.ann.post("/members/log-out/")
        self.assertNotContains(self.ann.get("/"), 'class="who"')

    def test_the_newsroom_is_for_staff(self) -> None:
        self.warm(self.ann, "/newsroom/")
        self.assertEqual(self.ben.get("/newsroom/").status_code, 302)
        self.assertEqual(
            self.ben.post("/newsroom/", {"announce": "1", "text": "x"}).status_code, 302
        )
        self.assertEqual(newsroom.announcement(), "")


class StripTest(SiteTest):
    """The strip is on pages, and nowhere else."""

    def test_each_page_has_one_strip_from_the_store_or_not(self) -> None:
        for _ in range(2):
            self.assertContains(self.visitor.get("/"), 'class="strip"', count=1)

    def test_the_strip_tells_a_hit_from_a_miss(self) -> None:
        self.assertIn("pages;dur=", self.visitor.get("/").headers["Server-Timing"])
        self.assertContains(self.visitor.get("/"), "<i>pages</i> <b>hit</b>")

    def test_a_page_with_a_strip_has_no_validators(self) -> None:
        self.assertNotIn("ETag", self.warm(self.visitor, "/").headers)

    def test_json_images_and_streams_are_left_alone(self) -> None:
        for url in ("/data/airports/AT00.json", "/map.svg", "/data/airports.csv"):
            with self.subTest(url=url):
                response = self.warm(self.visitor, url)
                self.assertNotIn(b"strip", b"".join(response))
                self.assertIn("Server-Timing", response.headers)

    def test_a_cached_view_answers_members_and_visitors_from_one_store(self) -> None:
        self.warm(self.ann, "/data/airports/AT00.json")
        with trace() as events:
            self.visitor.get("/data/airports/AT00.json")
        self.assertIn("hit", {event.outcome for event in events if event.layer == "pages"})


def _without_strip(response: HttpResponse) -> bytes:
    return response.content.partition(b'<link rel="stylesheet" href="/static/strip/')[0]
