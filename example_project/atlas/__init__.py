"""The atlas: airports, the countries and cities around them, and what members say about them."""
