"""Text from the web to category ids."""
