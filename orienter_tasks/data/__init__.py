"""Copies of an instance's data: what they say of themselves, and where they are kept."""
