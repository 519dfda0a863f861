"""The experiments behind the two written answers. Each is a function of (settings, seed, images, device)."""
