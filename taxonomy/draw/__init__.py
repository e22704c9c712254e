"""The hierarchy as a page that one would rather look at than read."""
