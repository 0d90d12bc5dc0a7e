class EmbeddedPostgresError(Exception):
    """The private server cannot be found, made, started or stopped; the text says what to do."""
