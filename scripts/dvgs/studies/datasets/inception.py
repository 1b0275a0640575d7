"""Images as the 2,048 numbers before the last layer of Inception-v3, if torchvision and its weights are there."""

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dvgs.errors import InputError
from dvgs.progress import Progress, logger

WEIGHTS = "inception_v3_google-0cc3c7bd.pth"  # torchvision's, trained on ImageNet
IMAGE_CHUNK = 64


def find_inception() -> nn.Module | None:
    """The model without its last layer, in evaluation mode. If it is None, the log says why.

    Raises InputError for a file that does not hold its weights.
    """
    try:
        from torchvision.models import inception_v3
    except (ImportError, RuntimeError) as error:  # RuntimeError if it was built for another torch
        logger.info("pixels and a convolutional classifier, because torchvision cannot be imported: %s", error)
        return None
    path = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
    if not path.is_file():
        logger.info("pixels and a convolutional classifier, because there is no %s", path)
        return None
    model = inception_v3(weights=None, init_weights=False)  # without the transform: our pixels are in [-1, 1] already
    try:
        model.load_state_dict(torch.load(path, weights_only=True))
    except (OSError, RuntimeError, EOFError, TypeError, pickle.UnpicklingError) as error:
        problem = f"not the weights of Inception-v3 ({' '.join(str(error).split())[:200]})"
        raise InputError(path, "studies.features", problem, "get the file again, or say pixels") from None
    model.fc = torch.nn.Identity()
    logger.info("an Inception-v3 embedding and a multilayer perceptron")
    return model.eval()


@torch.no_grad()
def embed(model: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Images (n, 3, 32, 32) in [-1, 1], beyond it where they are noisy, as a float32 array (n, 2048)."""
    model, found = model.to(device), []
    progress = Progress("embedding images", len(images))
    for chunk in torch.from_numpy(images).split(IMAGE_CHUNK):
        large = torch.nn.functional.interpolate(chunk.to(device), size=(299, 299), mode="bilinear", antialias=True)
        found.append(model(large).cpu())
        progress.advance(len(chunk))
    return torch.cat(found).numpy()
