"""edge: the only sockets, threads, processes, files and clocks."""
