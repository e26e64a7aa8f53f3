"""Loads exported checkpoints as the original does.

    load_checkpoint.py FILE...

FILE is a `.train` or `.model` file, written by `novic checkpoint convert` or by
a training with `checkpoint.export = "train"`. It must load in torch's
weights-only mode without further allowed classes, its optimizer state must be
taken by torch's AdamW and make a step, and its schedules by torch's schedulers.
"""

import sys

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

ENTRIES = "cfg_flat target_config data_config model_state_dict target_nouns num_invalid_target_nouns".split()
TRAINING = "train_loop_config train_loop_state optimizer_type optimizer_state_dict scheduler_warmup_state_dict".split()
TRAINING += "scheduler_state_dict amp_scaler_enabled amp_scaler_state_dict".split()


def parameters(state):
    """Trainable tensors, each once."""
    seen, found = set(), []
    for name, tensor in state.items():
        if name != "causality_mask" and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            found.append(torch.nn.Parameter(tensor.clone()))
    return found


def check(path):
    file = torch.load(path, map_location="cpu", weights_only=True)
    missing = [name for name in ENTRIES if name not in file]
    if path.endswith(".train"):
        missing += [name for name in TRAINING if name not in file]
    assert not missing, f"lacks {', '.join(missing)}"
    state = file["model_state_dict"]
    assert type(state).__name__ == "OrderedDict" and next(iter(state)) == "causality_mask"
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    assert isinstance(file["target_nouns"], tuple)
    if "optimizer_state_dict" not in file:
        return f"{len(state)} weights"

    stored, (weights, kind) = file["optimizer_state_dict"], (parameters(state), file["optimizer_type"])
    if not kind.endswith(".AdamW"):
        return f"{len(state)} weights, optimizer {kind} (not in torch)"
    vectors = [weight for weight in weights if weight.dim() < 2]
    matrices = [weight for weight in weights if weight.dim() >= 2]
    sizes = [len(group["params"]) for group in stored["param_groups"]]
    groups = [vectors, matrices] if len(sizes) == 2 else [weights]
    assert sizes == [len(group) for group in groups], f"groups of {sizes} parameters"
    optimizer = torch.optim.AdamW([dict(params=group, initial_lr=1e-3) for group in groups], lr=1e-3)
    for name, scheduler in (
        ("scheduler_warmup_state_dict", lambda: LinearLR(optimizer)),
        ("scheduler_state_dict", lambda: CosineAnnealingLR(optimizer, 10)),
    ):
        if file[name] is not None:
            loaded = scheduler()
            loaded.load_state_dict(file[name])
            loaded.step()
    optimizer.load_state_dict(stored)
    for weight, entry in zip((weight for group in groups for weight in group), stored["state"].values()):
        assert entry["exp_avg"].shape == weight.shape, f"moments of shape {tuple(entry['exp_avg'].shape)}"
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert all(weight.isfinite().all() for weight in weights)
    return f"{len(state)} weights, {len(stored['state'])} moments, {len(file['target_nouns'])} nouns"


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    failed = False
    for path in sys.argv[1:]:
        try:
            print(f"{path}: {check(path)}")
        except Exception as error:
            failed = True
            print(f"{path}: {type(error).__name__}: {error}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
