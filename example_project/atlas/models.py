"""What the site knows: places (imported), and what members add to them."""

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse


class Member(AbstractUser):
    """Somebody who can log in.

    `last_login` is left out: with it each log-in would write to a row that all pages with this member's reviews
    depend on, and they would be rebuilt although nothing on them can have changed.
    """

    last_login = None

    class Meta(AbstractUser.Meta):
        verbose_name = "member"
        verbose_name_plural = "members"


class Continent(models.Model):
    """One of the seven continents."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=30)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Country(models.Model):
    """A country or territory with an ISO 3166 code."""

    code = models.CharField(max_length=2, primary_key=True)
    continent = models.ForeignKey(Continent, models.PROTECT, related_name="countries")
    name = models.CharField(max_length=100)
    capital = models.CharField(max_length=100, blank=True)
    population = models.PositiveBigIntegerField(default=0)
    area_km2 = models.FloatField(default=0)
    currency = models.CharField(max_length=40, blank=True)
    neighbours = models.ManyToManyField("self", blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("atlas:country", args=[self.code])


class City(models.Model):
    """A city of at least 15 000 people."""

    country = models.ForeignKey(Country, models.CASCADE, related_name="cities")
    name = models.CharField(max_length=200)
    population = models.PositiveIntegerField(default=0)
    latitude = models.FloatField()
    longitude = models.FloatField()

    class Meta:
        ordering = ["-population"]
        verbose_name_plural = "cities"
        indexes = [models.Index(fields=["country", "-population"])]

    def __str__(self) -> str:
        return self.name


class Airport(models.Model):
    """An airport or airfield; `code` is its ICAO code or, where it has none, the local one.

    The code is the primary key, so a page that asks for one airport by its code depends on that row alone.
    """

    code = models.CharField(max_length=8, primary_key=True)
    iata = models.CharField("IATA", max_length=3, blank=True, db_index=True)
    name = models.CharField(max_length=200)
    country = models.ForeignKey(Country, models.PROTECT, related_name="airports")
    city = models.ForeignKey(City, models.SET_NULL, null=True, blank=True, related_name="airports")
    municipality = models.CharField(max_length=120, blank=True)
    region = models.CharField(max_length=120, blank=True)
    elevation_ft = models.IntegerField("elevation (ft)")
    latitude = models.FloatField()
    longitude = models.FloatField()
    timezone = models.CharField(max_length=40, blank=True)
    # Worked out once by the import. A page that reads its neighbours by primary key depends on those few rows, and is
    # not rebuilt when an airport at the other end of the world changes.
    nearest = models.JSONField(default=list, blank=True, help_text="codes of the airports close by")

    class Meta:
        ordering = ["name", "code"]
        indexes = [models.Index(fields=["name", "code"]), models.Index(fields=["country", "name"])]

    def __str__(self) -> str:
        return f"{self.name} ({self.code})"

    def get_absolute_url(self) -> str:
        return reverse("atlas:airport", args=[self.code])

    @property
    def elevation_m(self) -> int:
        """Height above the sea in metres."""
        return round(self.elevation_ft * 0.3048)


class Review(models.Model):
    """What a member thinks of an airport. One each."""

    airport = models.ForeignKey(Airport, models.CASCADE, related_name="reviews")
    author = models.ForeignKey(Member, models.CASCADE, related_name="reviews")
    rating = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    text = models.TextField(max_length=1000)
    created = models.DateTimeField()

    class Meta:
        ordering = ["-created", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["airport", "author"], name="one_review_per_member_and_airport"
            )
        ]
        indexes = [models.Index(fields=["-created", "-id"])]

    def __str__(self) -> str:
        return f"{self.rating}/5 for {self.airport_id} by {self.author_id}"


class Collection(models.Model):
    """A member's named list of airports, visible to everybody."""

    owner = models.ForeignKey(Member, models.CASCADE, related_name="collections")
    name = models.CharField(max_length=80)
    about = models.CharField(max_length=200, blank=True)
    airports = models.ManyToManyField(Airport, related_name="collections", blank=True)

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("atlas:collection", args=[self.pk])
