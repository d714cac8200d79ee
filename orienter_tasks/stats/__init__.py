"""What an instance's parts use of memory and CPU."""
