"""Django's admin, as one more way to edit things."""

from django.contrib import admin

from atlas.models import Airport, City, Collection, Country, Member, Review


@admin.register(Airport)
class AirportAdmin(admin.ModelAdmin):
    """Airports."""

    list_display = ["code", "iata", "name", "country", "elevation_ft"]
    list_select_related = ["country"]
    search_fields = ["code", "iata", "name"]
    autocomplete_fields = ["country", "city"]
    readonly_fields = ["code"]
    exclude = ["nearest"]


@admin.register(Country)
class CountryAdmin(admin.ModelAdmin):
    """Countries."""

    search_fields = ["name", "code"]
    readonly_fields = ["code"]
    autocomplete_fields = ["neighbours"]


@admin.register(City)
class CityAdmin(admin.ModelAdmin):
    """Cities."""

    list_display = ["name", "country", "population"]
    list_select_related = ["country"]
    search_fields = ["name"]
    autocomplete_fields = ["country"]


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    """Reviews."""

    list_display = ["airport", "author", "rating", "created"]
    list_select_related = ["airport", "author"]
    autocomplete_fields = ["airport", "author"]


@admin.register(Collection)
class CollectionAdmin(admin.ModelAdmin):
    """Lists of airports."""

    autocomplete_fields = ["owner", "airports"]


@admin.register(Member)
class MemberAdmin(admin.ModelAdmin):
    """Members."""

    search_fields = ["username"]
    fields = ["username", "first_name", "last_name", "is_active", "is_staff", "is_superuser"]
