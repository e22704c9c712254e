"""Builds a training set from noisy (image, label) pairs: configuration, command line and the Beam stages.

Importing this package, its command line or its configuration imports neither Beam nor torch: a trainer with
the base install can call `openjft train`, and a driver can validate a configuration in a blink.
"""
