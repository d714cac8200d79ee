"""The demo application, with its real servers."""
