"""flow: the pure core: notices in, commands out."""
