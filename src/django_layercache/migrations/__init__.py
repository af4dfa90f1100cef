"""The outbox, and nothing else."""
