"""What people and machines see: answers on stdout, everything else on stderr."""
