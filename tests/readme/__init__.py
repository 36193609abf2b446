"""What README says that the code knows better: `python -m tests.readme` writes these parts anew, between their markers."""
