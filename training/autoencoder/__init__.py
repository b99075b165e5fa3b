"""Training of the miniature's autoencoder: hierarchical PCA as the start, then waveform and spectral losses."""
