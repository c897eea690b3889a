"""Opening a SentencePiece model; the package is imported only here, when it is needed."""

from pathlib import Path

FILE = "spiece.model"


def open_sentence_piece(path: str | Path):
    """The `sentencepiece.SentencePieceProcessor` of a model.

    Args:
        path: path of a `spiece.model`, or of the folder it is in.

    Raises:
        ImportError: the package is not there; says how to install it.
        ValueError: the file is missing or no such model; names it.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise ImportError(
            "SentencePiece vocabularies need the package `sentencepiece`: "
            "pip install 'kexue_keras[sentencepiece]'"
        ) from error
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    except OSError as error:
        raise ValueError(f"`path` {path} cannot be read: {error.strerror}") from error
    except RuntimeError as error:
        raise ValueError(f"`path` {path} is no SentencePiece model: {error}") from error
