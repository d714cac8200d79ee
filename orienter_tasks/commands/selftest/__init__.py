"""`inv test`: prove that a host's own settings, templates and `.env` work, for every id that there may be."""
