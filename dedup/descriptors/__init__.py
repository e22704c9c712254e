"""The descriptors behind `openjft.dedup.embedder.Embedder`: one module each, made by name in `factory`."""
