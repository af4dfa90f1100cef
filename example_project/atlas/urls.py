"""URLs of the atlas."""

from django.urls import path

from atlas.views import browse, collections, exports, newsroom, numbers, reviews, search

app_name = "atlas"

urlpatterns = [
    path("", browse.home, name="home"),
    path("airports/", browse.airport_list, name="airports"),
    path("airports/<str:code>/", browse.airport, name="airport"),
    path("airports/<str:code>/edit/", browse.airport_edit, name="airport-edit"),
    path("airports/<str:code>/review/", reviews.write, name="review"),
    path("airports/<str:code>/collect/", collections.collect, name="collect"),
    path("countries/", browse.CountryList.as_view(), name="countries"),
    path("countries/<str:pk>/", browse.CountryDetail.as_view(), name="country"),
    path("search/", search.search, name="search"),
    path("numbers/", numbers.numbers, name="numbers"),
    path("collections/", collections.index, name="collections"),
    path("collections/<int:pk>/", collections.show, name="collection"),
    path("newsroom/", newsroom.desk, name="newsroom"),
    path("map.svg", exports.world_map, name="map"),
    path("data/airports/<str:code>.json", exports.airport_json, name="airport-json"),
    path("data/airports.csv", exports.airports_csv, name="airports-csv"),
]
