"""The honest registry: what follows from what is stored, without sockets and without faults."""
