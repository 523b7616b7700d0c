"""How a cell is scored: extractors, real images as reference, probes of samples, the judge, and the steps of a cell."""
