"""A verb is a module: what each task does, without Invoke."""
