"""Neighbours and dots."""

from django.test import SimpleTestCase

from atlas import geography


class GeographyTest(SimpleTestCase):
    """Arithmetic only: no database."""

    def test_the_nearest_come_first_and_a_point_is_not_its_own_neighbour(self) -> None:
        points = [("a", 0.0, 0.0), ("b", 0.0, 0.1), ("c", 0.5, 0.0), ("far", 60.0, 60.0)]
        found = dict(geography.nearest(points, 2))
        self.assertEqual(found["a"], ["b", "c"])
        self.assertEqual(found["far"], [])

    def test_degrees_of_longitude_shrink_towards_the_poles(self) -> None:
        points = [("a", 80.0, 0.0), ("east", 80.0, 0.9), ("north", 80.3, 0.0)]
        self.assertEqual(dict(geography.nearest(points, 2))["a"], ["east", "north"])

    def test_a_dot_stands_for_all_that_is_close(self) -> None:
        self.assertEqual(len(geography.dots([(0.1, 0.1), (0.2, 0.2), (50.0, 50.0)])), 2)
