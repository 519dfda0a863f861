"""The two losses of a generator, and what they are in floating-point numbers."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch
import torch.nn.functional as F

from pipeline.config import GanStudy
from pipeline.studies.measured import Digits, Measured

Loss = Callable[[torch.Tensor], torch.Tensor]

# Functions of the discriminator's logits a on generated images, D = σ(a); means over the batch.
LOSSES: dict[str, Loss] = {
    "saturating": lambda logits: -F.softplus(logits).mean(),  # log(1 − D), which the generator descends
    "non-saturating": lambda logits: F.softplus(-logits).mean(),  # −log D: it ascends log D
}
# Derivative of each by the logit of one image.
WEIGHTS: dict[str, Loss] = {
    "saturating": lambda logits: -torch.sigmoid(logits),
    "non-saturating": lambda logits: -torch.sigmoid(-logits),
}
# The same losses as they are often written.
FORMS: dict[str, dict[str, Loss]] = {
    "softplus of the logit": {
        "saturating": lambda a: -F.softplus(a),
        "non-saturating": lambda a: F.softplus(-a),
    },
    "log of the sigmoid": {
        "saturating": lambda a: torch.log(1 - torch.sigmoid(a)),
        "non-saturating": lambda a: -torch.log(torch.sigmoid(a)),
    },
    "BCELoss": {
        "saturating": lambda a: -F.binary_cross_entropy(a.sigmoid(), torch.zeros_like(a), reduction="none"),
        "non-saturating": lambda a: F.binary_cross_entropy(a.sigmoid(), torch.ones_like(a), reduction="none"),
    },
}
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
GREATEST_LOGIT = 120.0


def discriminator_loss(real: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
    """−log D on real images and −log(1 − D) on generated ones, from logits."""
    return F.softplus(-real).mean() + F.softplus(generated).mean()


def measure(settings: GanStudy, seed: int, digits: Digits, device: torch.device) -> Measured:
    """Autograd against the closed form on logits from −120 to 120, for every way to write the losses.

    Table `closed_form`: number, form, loss, error (greatest difference of a finite gradient from the closed form),
    broken (share of logits whose gradient is not finite, or 0 although it is not that small), first (the logit of
    least size where that happens).
    """
    exact = torch.linspace(-GREATEST_LOGIT, GREATEST_LOGIT, 4801, dtype=torch.float64)
    rows = []
    for number, dtype in DTYPES.items():
        logits = exact.to(dtype)
        for form, losses in FORMS.items():
            for name, loss in losses.items():
                a = logits.clone().requires_grad_()
                try:
                    (gradient,) = torch.autograd.grad(loss(a).sum(), a)
                except RuntimeError:
                    continue  # this form does not exist for these numbers
                wanted = WEIGHTS[name](logits.double())
                found = gradient.double()
                vanished = (found == 0) & (wanted.abs() > torch.finfo(dtype).tiny)
                broken = ~found.isfinite() | vanished
                rows.append(
                    {
                        "number": number,
                        "form": form,
                        "loss": name,
                        "error": (found - wanted)[found.isfinite()].abs().max().item(),
                        "broken": broken.double().mean().item(),
                        "first": exact[broken][exact[broken].abs().argmin()].item() if broken.any() else float("nan"),
                    }
                )
    table = pd.DataFrame(rows)
    stable = table[(table["form"] == "softplus of the logit") & (table["number"] == "float64")]
    return Measured({"closed_form": table}, {"closed_form_error": float(stable["error"].max())})
