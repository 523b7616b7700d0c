"""What has to go along when weights or generated images are passed on: terms, card, datasheet, checklists, marks."""
