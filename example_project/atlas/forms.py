"""The forms of the site."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import UserCreationForm

from atlas.models import Airport, Collection, Continent, Country, Member, Review


class ReviewForm(forms.ModelForm):
    """A rating and a text."""

    rating = forms.TypedChoiceField(
        coerce=int,
        choices=[
            (5, "5 – excellent"),
            (4, "4 – good"),
            (3, "3 – fair"),
            (2, "2 – poor"),
            (1, "1 – dreadful"),
        ],
    )

    class Meta:
        model = Review
        fields = ["rating", "text"]
        widgets = {
            "text": forms.Textarea(attrs={"rows": 3, "placeholder": "What should others know?"})
        }


class AirportForm(forms.ModelForm):
    """What staff may correct."""

    class Meta:
        model = Airport
        fields = ["name", "municipality", "region", "elevation_ft"]


class AnnouncementForm(forms.Form):
    """The banner on each page."""

    text = forms.CharField(
        label="Announcement",
        required=False,
        max_length=160,
        help_text="Shown on every page; empty takes it down.",
    )


class PickForm(forms.Form):
    """The airport on the front page."""

    code = forms.CharField(
        label="Editors’ pick", max_length=8, help_text="The ICAO code, for example LOWI or NZQN."
    )

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"].strip().upper()
        if not Airport.objects.filter(code=code).exists():
            raise forms.ValidationError("There is no airport with this code.")
        return code


class CollectionForm(forms.ModelForm):
    """A new list of airports."""

    class Meta:
        model = Collection
        fields = ["name", "about"]


class SignUpForm(UserCreationForm):
    """A new member."""

    class Meta(UserCreationForm.Meta):
        model = Member
        fields = ("username",)


class FilterForm(forms.Form):
    """The filter of the list of airports. Reads the address, so a bad value is left out and not complained about."""

    ORDERS = {
        "name": "Name",
        "-elevation_ft": "Highest first",
        "elevation_ft": "Lowest first",
        "-latitude": "North first",
    }

    q = forms.CharField(label="Name or code", required=False, max_length=60)
    continent = forms.ModelChoiceField(
        Continent.objects.all(), required=False, to_field_name="code", empty_label="All continents"
    )
    country = forms.ModelChoiceField(
        Country.objects.all(), required=False, to_field_name="code", empty_label="All countries"
    )
    order = forms.ChoiceField(label="Sort by", required=False, choices=list(ORDERS.items()))
    scheduled = forms.BooleanField(label="With an IATA code only", required=False)

    def conditions(self) -> dict[str, Any]:
        """What the visitor asked for and the form understood."""
        self.is_valid()
        return self.cleaned_data
