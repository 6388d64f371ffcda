"""What happened, as it truly went: exchanges, secrets as fingerprints, and views of both."""
