"""Pure trading library: no sockets, no processes, no configuration files."""
