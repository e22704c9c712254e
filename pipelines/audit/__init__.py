"""The audit: labels drawn for a person to judge, and the certificate that follows from the answers."""
