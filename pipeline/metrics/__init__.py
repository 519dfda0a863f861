"""What results are measured by."""

SSIM_SIDE = 11
"""Of SSIM's window, in pixels: smaller images have no SSIM."""
SSIM_VARIANT = f"Gaussian window {SSIM_SIDE}×{SSIM_SIDE}, σ=1.5"
"""Which of the definitions of SSIM all figures are of; said wherever they are shown."""
