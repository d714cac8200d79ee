"""Clients of the servers: readiness questions and sessions."""
