"""What caching costs and saves, side by side with plain Django and its like. See README.md."""
