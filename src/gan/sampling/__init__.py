"""Images from what a row leaves behind: the exported file, what is asked of it, and how images are written."""
