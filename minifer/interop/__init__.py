"""Other tools: their weights read, ours written for them."""

from pathlib import Path

KERAS, PICKLED = {".h5", ".hdf5", ".keras"}, {".pt", ".pth", ".bin", ".pkl", ".ckpt"}


def load(path, model, classifier=False):
    """Fill a MobileNet, V2 or V3 with the weights of another tool; return the names of the parts that were left alone.

    The suffix decides: .safetensors is timm's or torchvision's, anything else Keras' (.h5, .weights.h5, .keras). The
    classifier is filled if asked for: its classes must be as many, and no file tells whether they are the same.

    Raises     what interop.keras.load_keras_mobilenet and interop.pytorch.load_pytorch raise; a pickle of PyTorch's
               (.pt, .pth, .bin) is refused, since loading one runs what it says
    """
    from minifer.errors import CheckpointError
    from minifer.interop.keras import load_keras_mobilenet
    from minifer.interop.pytorch import load_pytorch

    path = Path(path)
    if path.suffix.lower() in PICKLED:
        raise CheckpointError(
            f"{path} is pickled, and loading it could run anything: save it with safetensors.torch.save_file instead"
        )
    return (load_pytorch if path.suffix.lower() == ".safetensors" else load_keras_mobilenet)(path, model, classifier)


def is_foreign(path):
    """Say whether a file of weights is another tool's; a .safetensors with minifer's description is not."""
    suffix = Path(path).suffix.lower()
    if suffix != ".safetensors":
        return suffix in KERAS | PICKLED
    from minifer.interop import safetensors

    return "minifer" not in safetensors.metadata(path)
