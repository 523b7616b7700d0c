"""Reader studies: pages on which people say which images are real, and what their answers say."""
