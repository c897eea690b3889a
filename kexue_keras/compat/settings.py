"""What bert4keras sets for the whole process."""

SETTINGS = {"gelu": "erf"}


def set_gelu(version):
    """What "gelu" means in the configuration of models that are built from now on.

    Args:
        version: "erf", the exact one, or "tanh", the approximation.
    """
    if not isinstance(version, str) or version.lower() not in ("erf", "tanh"):
        raise ValueError(f'`version` must be "erf" or "tanh". Received: {version!r}')
    SETTINGS["gelu"] = version.lower()
