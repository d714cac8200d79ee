"""nginx's configuration: rendered, checked, swapped in, reloaded, rolled back; and whose nginx answers."""
