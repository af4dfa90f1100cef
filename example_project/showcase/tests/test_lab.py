"""The lab does what it says, and leaves nothing behind."""

from __future__ import annotations

from django.core import serializers

from atlas.models import Airport, Collection, Review
from atlas.tests.test_site import SiteTest
from showcase.edits import all_edits
from showcase.experiments import Bench, Result, Verdict
from showcase.probes import all_probes
from showcase.subjects import Subjects


class LabTest(SiteTest):
    """Each edit, tried out on a small world."""

    def test_every_edit_leaves_all_answers_fresh(self) -> None:
        subjects = Subjects.choose()
        bench = Bench(all_probes(subjects))
        self.assertEqual(bench.cold, [])
        for edit in all_edits(subjects):
            with self.subTest(edit=edit.slug):
                self.assertEqual(bench.try_out(edit).failures, ())

    def test_every_edit_is_undone(self) -> None:
        before = _everything()
        for edit in all_edits(Subjects.choose()):
            with self.subTest(edit=edit.slug):
                with edit.done():
                    pass
                self.assertEqual(_everything(), before)

    def test_what_was_rolled_back_rebuilds_nothing(self) -> None:
        result = self._try_out("rollback")
        self.assertEqual(result.rebuilt, [])

    def test_an_edit_of_one_row_leaves_what_is_about_other_rows(self) -> None:
        subjects = Subjects.choose()
        for slug in ("save", "update-row"):
            verdicts = self._try_out(slug).verdicts
            self.assertIs(verdicts[f"queryset airport {subjects.edited.pk}"], Verdict.REBUILT)
            for name in ("page airport", "view JSON of", "queryset airport", "fragment close to"):
                self.assertIs(verdicts[f"{name} {subjects.untouched.pk}"], Verdict.STAYED, name)

    def test_a_review_leaves_what_is_about_other_airports(self) -> None:
        subjects = Subjects.choose()
        verdicts = self._try_out("create").verdicts
        self.assertIs(verdicts[f"function rating of {subjects.edited.pk}"], Verdict.REBUILT)
        self.assertIs(verdicts[f"page airport {subjects.untouched.pk}"], Verdict.STAYED)

    def test_a_tag_named_by_hand_rebuilds_what_named_it(self) -> None:
        rebuilt = self._try_out("announce").rebuilt
        self.assertTrue(rebuilt)
        self.assertEqual({name.split()[0] for name in rebuilt}, {"page"})

    def test_the_page_shows_the_verdicts(self) -> None:
        page = self.visitor.post("/lab/", {"edit": "save"})
        self.assertContains(page, "all fresh")
        self.assertContains(page, 'class="stayed"')

    def _try_out(self, slug: str) -> Result:
        subjects = Subjects.choose()
        edit = next(edit for edit in all_edits(subjects) if edit.slug == slug)
        return Bench(all_probes(subjects)).try_out(edit)


def _everything() -> tuple[str, object]:
    rows = [*Airport.objects.order_by("pk"), *Review.objects.order_by("pk")]
    pairs = Collection.airports.through.objects.values_list("collection_id", "airport_id")
    return serializers.serialize("json", rows), sorted(pairs)
