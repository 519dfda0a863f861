"""What results are measured by."""

SSIM_VARIANT = "Gaussian window 11×11, σ=1.5"
"""Which of the definitions of SSIM all figures are of; said wherever they are shown."""
