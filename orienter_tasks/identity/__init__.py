"""Which instance a checkout is: claims on ids, how an id is chosen, and what became of a claim's checkout."""
