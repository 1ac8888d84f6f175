"""What several test modules share: small files to read, and values to compare."""
