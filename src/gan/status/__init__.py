"""The cells of a study at a glance, while jobs run: reads files only, needs neither Slurm nor torch."""
