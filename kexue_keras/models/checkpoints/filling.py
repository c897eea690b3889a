"""A model filled from an opened checkpoint: all variables or none, one array after another."""


def fill(targets, archive, candidates):
    """Checks that everything is there, whole and of the right shape, then reads and assigns it.

    Args:
        targets: list of `CheckpointVariable`.
        archive: an opened checkpoint, as `TensorBundle` or `HuggingFaceWeights`.
        candidates: called with a target, gives the names that it may have in the checkpoint.

    Raises:
        CheckpointError: something is missing, damaged or of another shape; nothing was assigned.
    """
    keys = [_key(target, archive, candidates) for target in targets]
    for target, key in zip(targets, keys, strict=True):
        target.check(archive.shape(key), archive.path, key)
    for key in dict.fromkeys(keys):
        archive.check(key)
    for target, key in zip(targets, keys, strict=True):
        target.assign(archive.read(key))


def _key(target, archive, candidates):
    names = list(candidates(target))
    # of one that is missing, the archive says so
    return next((name for name in names if name in archive), names[0])
