"""Other tools: their weights read, ours written for them."""

from pathlib import Path


def load(path, model, classifier=False):
    """Fill a MobileNet with the weights of another tool; return the names of the parts that were left alone.

    What the file holds decides: HDF5 or a .keras file of Keras, or safetensors of timm. The classifier is filled if
    asked for: its classes must be as many, and no file tells whether they are the same.

    Raises     what interop.keras.load_keras_mobilenet and interop.timm.load_timm_mobilenet raise; a pickle of PyTorch's
               (.pt, .pth, .bin) is refused, since loading one runs what it says
    """
    from minifer.errors import CheckpointError
    from minifer.interop.keras import load_keras_mobilenet
    from minifer.interop.timm import load_timm_mobilenet

    path = Path(path)
    if path.suffix.lower() in {".pt", ".pth", ".bin", ".pkl", ".ckpt"}:
        raise CheckpointError(
            f"{path} is pickled, and loading it could run anything: save it with safetensors.torch.save_file instead"
        )
    return (load_timm_mobilenet if path.suffix.lower() == ".safetensors" else load_keras_mobilenet)(
        path, model, classifier
    )
