"""The tasks: the only modules that know Invoke. Each is: context, one call, report."""
