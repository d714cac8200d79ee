"""One module per infrastructure component, on both backends, and the backends that are made of them."""
