"""Evaluation sets as a build holds them: embedded once each, with their index, pictures and account in one folder.

`images` decodes a set in the frame of the training images; `pictures` keeps each image small, for alignment, planted
copies and reports; `stored` writes and reads a set's folder; `sets` brings the sets of a configuration together, and
`library` is the folder that `openjft evalset` keeps for many builds.
"""
