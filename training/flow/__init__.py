"""Training of the miniature's diffusion transformers and condition encoder on cached latents."""
