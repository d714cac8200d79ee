"""`inv doctor`: small checks of this machine and this checkout, each with what to do about it."""
