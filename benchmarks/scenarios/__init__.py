"""What is measured. A worker imports them all once Django is set up."""
