"""What can go wrong in the demo, each with the HTTP status that says so."""

from __future__ import annotations


class DemoError(Exception):
    """A fault, reported to the caller in one line."""

    status = 500


class BadInputError(DemoError):
    """The request makes no sense."""

    status = 400


class NotFoundError(DemoError):
    """The note or the attachment is not there."""

    status = 404


class TooLargeError(DemoError):
    """The body is longer than the demo takes."""

    status = 413


class UnavailableError(DemoError):
    """PostgreSQL or the S3 store does not answer, or is not set up."""

    status = 503


class ConfigurationError(DemoError):
    """A variable is missing or wrong; the service ends with exit code 2."""
