"""Making and training the weights: corpora, trainers (autoencoder, flow matching), and the embedded miniature."""
