"""The program that runs transformers on PyTorch, in a process of its own.

PyTorch and TensorFlow do not go together in one process. Lines of JSON come and go as in
tests/reference_process.py; the commands are the functions below.
"""

import json
import os
import sys
import traceback

import numpy as np
import torch
import transformers

torch.set_num_threads(1)
COMMANDS = {}


def command(function):
    COMMANDS[function.__name__] = function
    return function


def load(model, folder):
    return getattr(transformers, model).from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )


def run(model, arrays):
    """Outputs by name; inputs are int arrays by name."""
    inputs = {name: torch.tensor(array) for name, array in arrays.items()}
    inputs = {name: x.long() if x.dtype == torch.int32 else x for name, x in inputs.items()}
    with torch.no_grad():
        outputs = model.eval()(**inputs)
    return {name: x.numpy() for name, x in outputs.items() if torch.is_tensor(x)}


@command
def save(arrays, folder, model, config, options, seed=0, dtype="float32", pickle=False, **saving):
    """Writes a model with random weights, also where there would be ones and zeros.

    Args:
        folder: where `config.json` and the weights are written.
        model, config: names of classes of transformers.
        options: of the configuration.
        dtype: of the file.
        pickle: whether to write a `pytorch_model.bin` instead of safetensors.
        saving: options of `save_pretrained`.
    """
    settings = getattr(transformers, config)(**options)
    found = getattr(transformers, model)(settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            center = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(center + 0.3 * torch.randn(parameter.shape, generator=generator))
    found = found.to(getattr(torch, dtype))
    if pickle:
        found.config.save_pretrained(folder)
        torch.save(found.state_dict(), os.path.join(folder, "pytorch_model.bin"))
    else:
        found.save_pretrained(folder, **saving)
    return {}, sorted(os.listdir(folder))


@command
def outputs(arrays, folder, model):
    """Outputs of the model in a folder; `meta` holds what `from_pretrained` reports."""
    found, report = load(model, folder)
    report = {name: sorted(map(str, report[name])) for name in report}
    return run(found, arrays), report


def answer(request_path, arrays_in, arrays_out):
    with open(request_path, encoding="utf-8") as file:
        request = json.load(file)
    with np.load(arrays_in) as archive:
        arrays = {name: archive[name] for name in archive.files}
    found, meta = COMMANDS[request.pop("command")](arrays, **request)
    np.savez(arrays_out, meta=np.array(json.dumps(meta)), **found)


def serve(answers):
    for line in sys.stdin:
        paths, error = json.loads(line), None
        try:
            answer(paths["request"], paths["arrays_in"], paths["arrays_out"])
        except Exception:
            error = traceback.format_exc()
        answers.write(json.dumps({"error": error}) + "\n")
        answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w") as stream:
        os.dup2(2, 1)
        serve(stream)
