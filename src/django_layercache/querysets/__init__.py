"""The queryset layer: reads, writes, transactions, raw SQL, and the seams where Django is watched."""
