"""The strip's words."""

from django.test import SimpleTestCase

from django_layercache import Event
from strip.report import Queries, Report
from strip.words import changes, group_tags, key_in_words


class WordsTest(SimpleTestCase):
    """Tags, reasons and counts as a visitor reads them."""

    def test_tags_are_sorted_by_table(self) -> None:
        groups = group_tags(
            ["(database)", "atlas_airport", "atlas_airport#pk=EGLL", "atlas_review#*", "news"]
        )
        self.assertEqual([group.title for group in groups], ["Airport", "Review", "Named by hand"])
        self.assertEqual(
            (groups[0].rows, groups[0].whole, groups[0].any_row), (("EGLL",), True, False)
        )
        self.assertTrue(groups[1].any_row)
        self.assertEqual(groups[2].names, ("news",))

    def test_of_what_changed_the_most_exact_is_told(self) -> None:
        reason = "changed: 5b56579e:atlas_airport#*, 5b56579e:atlas_airport#pk=EGLL, 5b56579e:atlas_review#*, #news"
        self.assertEqual(changes(reason), ["Airport EGLL", "some Review", "news"])

    def test_rows_by_another_column_name_it_and_sessions_stay_secret(self) -> None:
        tags = [
            "atlas_collection_airports#airport_id=EGLL",
            "atlas_collection_airports#airport_id=?",
        ]
        groups = group_tags([*tags, "django_session#pk=2jmp66gnsj"])
        self.assertEqual([group.rows for group in groups], [("airport EGLL",), ("yours",)])

    def test_another_reason_names_no_change(self) -> None:
        self.assertEqual(changes("pending: atlas_airport#*"), [])

    def test_a_key_is_told_without_its_hashes(self) -> None:
        self.assertEqual(
            key_in_words("q:5b56579e:atlas_airport:7df29486f81cabb0:multi"), "atlas_airport multi"
        )
        self.assertEqual(
            key_in_words("functions:1:site.rating:15c1ff896d388d3e:s4:EGLL"), "site.rating EGLL"
        )

    def test_a_layer_is_as_good_as_its_worst_answer(self) -> None:
        events = (Event("querysets", "a", "hit", 0.001), Event("querysets", "b", "miss", 0.002))
        layer = Report(events, Queries(), 0.004).layers[-1]
        self.assertEqual((layer.outcome, layer.words), ("miss", "1 hit, 1 miss"))
        self.assertAlmostEqual(layer.milliseconds, 3.0)
