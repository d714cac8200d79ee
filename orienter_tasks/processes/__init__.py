"""Native processes of an instance: start them in their own session, know them again, stop the whole tree."""
