"""One checkout's slot as data: id, ports, names, directories and variables. Pure, but for reading `.env`."""
