"""A stand-in for Orient: a pnpm workspace of small services that run its settings as they are."""
