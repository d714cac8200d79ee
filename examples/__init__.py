"""Applications that show the plugin at work."""
