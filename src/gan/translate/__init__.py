"""A scan in another contrast, in its own geometry."""
