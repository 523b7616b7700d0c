"""What are generated images good for: networks trained on them, tested on unseen patients (docs/utility.md)."""
