"""Studies: loaders, drawn studies, and images."""
