"""How a container, a native server and nginx's configuration are handled; nothing here knows a component."""
