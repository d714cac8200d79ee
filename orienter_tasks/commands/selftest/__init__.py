"""`inv test`: prove that a host's own settings, templates and `.env` work for every possible id."""
