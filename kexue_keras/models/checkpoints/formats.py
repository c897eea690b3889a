"""Which format a checkpoint is of, and the two functions that read and write all of them."""

import os
import re

from kexue_keras.models.checkpoints import hugging_face
from kexue_keras.models.checkpoints.tensor_bundle import CheckpointError, TensorBundle

GOOGLE, NUMPY, HUGGING_FACE, BERT4KERAS = "google", "npz", "hugging_face", "bert4keras"
FORMATS = (
    "Google's TensorFlow format (the prefix of a `.index` file), `.npz`, Hugging Face's "
    "`model.safetensors` (or its folder, or `model.safetensors.index.json`), and bert4keras's "
    "HDF5 and object checkpoints"
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_HDF5_ENDINGS = (".h5", ".hdf5")
_TORCH_ENDINGS = (".bin", ".pt", ".pth")
_TORCH_FILES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_CONVERSION = (
    "import torch; from safetensors.torch import save_file; "
    "save_file({{k: v.clone().contiguous() for k, v in torch.load({path!r}, map_location='cpu', "
    "weights_only=True).items()}}, {target!r}, {{'format': 'pt'}})"
)


def format_of(path):
    """The format of what is there, and the path of the file to read.

    Args:
        path: path of a file or folder, or prefix of the files of a checkpoint.

    Returns:
        `(format, path)`; the format is one of the constants of this module.

    Raises:
        CheckpointError: nothing is there, or nothing that is read. The message says what was looked
            for.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> _ = open(os.path.join(folder, "model.safetensors"), "w").close()
    >>> format_of(folder)[0]
    'hugging_face'
    """
    path = os.fspath(path)
    if path.endswith(".npz"):
        return NUMPY, path
    if os.path.isdir(path):
        return HUGGING_FACE, _in_folder(path)
    if path.endswith((".safetensors", ".safetensors.index.json")):
        return HUGGING_FACE, path
    if os.path.isfile(path) and not path.endswith(".index"):
        return _by_content(path)
    prefix = path.removesuffix(".index")
    if not os.path.isfile(f"{prefix}.index"):
        raise CheckpointError(
            f"{prefix}.index is missing, and there is no file or folder {path}. Formats that are "
            f"read: {FORMATS}"
        )
    with TensorBundle(prefix) as bundle:
        objects = any(key.startswith("layer_with_weights-") for key in bundle.keys())
    return (BERT4KERAS if objects else GOOGLE), prefix


def _in_folder(path):
    for name in (hugging_face.WEIGHTS, hugging_face.INDEX):
        if os.path.isfile(os.path.join(path, name)):
            return os.path.join(path, name)
    for name in _TORCH_FILES:
        if os.path.isfile(os.path.join(path, name)):
            raise CheckpointError(_pickle(os.path.join(path, name)))
    names = sorted(os.listdir(path))
    prefixes = [name.removesuffix(".index") for name in names if name.endswith(".index")]
    if prefixes:
        raise CheckpointError(
            f"{path} is a folder; the checkpoint of TensorFlow in it is read by its prefix, "
            f"{os.path.join(path, prefixes[0])}"
        )
    raise CheckpointError(
        f"{path} is a folder without {hugging_face.WEIGHTS} or {hugging_face.INDEX}. It has: "
        f"{', '.join(names[:8]) or 'nothing'}"
    )


def _by_content(path):
    with open(path, "rb") as file:
        start = file.read(8)
    if start == _HDF5 or path.endswith(_HDF5_ENDINGS):
        return BERT4KERAS, path  # whose reader says if it is none
    if path.endswith(".keras"):
        raise CheckpointError(
            f"{path} is a whole model of Keras, which keras.saving.load_model reads"
        )
    if path.endswith(_TORCH_ENDINGS) or start.startswith((_ZIP, b"\x80")):
        raise CheckpointError(_pickle(path))
    part = re.search(r"\.(data-\d+-of-\d+|meta)$", path)
    if part:
        raise CheckpointError(
            f"{path} is one file of a checkpoint of TensorFlow, which is read by its prefix, "
            f"{path[: part.start()]}"
        )
    raise CheckpointError(f"{path} is of no format that is read. These are: {FORMATS}")


def _pickle(path):
    if path.endswith(".json"):
        way = (
            "save it as safetensors with transformers: `AutoModel.from_pretrained(folder)"
            ".save_pretrained(folder)`"
        )
    else:
        target = os.path.join(os.path.dirname(path), hugging_face.WEIGHTS)
        way = f'convert it once with\npython -c "{_CONVERSION.format(path=path, target=target)}"'
    return f"{path} is a pickle of PyTorch, which could run any program and is not read; {way}"
