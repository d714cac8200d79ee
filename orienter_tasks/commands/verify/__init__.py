"""Proof that running instances share nothing: what each really uses, and what two of them have in common."""
