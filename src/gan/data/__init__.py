"""From a source to a packed store of slices: `sources.fetch`, `volumes.convert`, `slices.build_store`, `store.Store`.

Nothing here imports torch; a store is read without the libraries that read scans.
"""
