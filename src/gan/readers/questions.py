"""What readers are asked, and how the files of a reading are called."""

KEY, ANSWERS = "gan-readers-key-1", "gan-readers-answers-1"  # formats of the key and of what a page saves
READERS, KEY_FILE, LEDGER, PAGES = "readers", "key.json", "ledger.json", "pages"  # folders and files of a study

REAL, SYNTHETIC = "real", "synthetic"
CONFIDENCE = ("guess", "fairly sure", "sure")
REALISM = ("not at all", "slightly", "moderately", "very", "perfectly")
CUES = ("blur", "grid pattern", "anatomy", "contrast", "symmetry", "noise", "other")
LEVELS = 2 * len(CONFIDENCE)  # from surely real, 0, to surely synthetic, 5
