"""The generative models under comparison: a folder a family. Importing this package does not import torch."""
