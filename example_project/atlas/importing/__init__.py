"""Filling the database: real places from two packages, and invented members who review them."""
