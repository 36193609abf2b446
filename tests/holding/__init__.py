"""Holding root spans back until they are scored."""
