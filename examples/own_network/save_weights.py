"""Stands in for a training of one's own: writes seeded, untrained weights as safetensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from unet import unet


def main() -> None:
    torch.manual_seed(0)
    save_file(unet(classes=1, channels=3).state_dict(), Path("weights.safetensors"))
    print("wrote weights.safetensors")


if __name__ == "__main__":
    main()
