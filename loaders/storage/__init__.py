"""Where a dataset's bytes lie: local folders and object stores, read at an offset from many threads."""
