"""The demo application: small stand-ins for a monorepo's services, one module each."""
