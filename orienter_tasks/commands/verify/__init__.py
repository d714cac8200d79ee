"""Proof that running instances share nothing: what each really uses, and what any two have in common."""
