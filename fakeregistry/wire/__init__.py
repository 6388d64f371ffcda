"""What is truly on the wire: listening, reading requests, playing scripts, TLS and HTTP/2."""
