"""The towers of ViT-B-16-SigLIP and the causal text tower of CLIP ViT-B/16 in PyTorch, to
measure `novic` against: plain modules with fused attention, or those of open_clip.

    towers.py FOLDER {text,image,prompts} [--threads 2] [--open-clip] [--compile]

FOLDER holds weights and inputs, written by `cargo bench --bench embedders -- write=FOLDER`.
`compare_embedders.py` runs this in turns with the benchmark.
"""

import argparse
import pathlib

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from turns import serve


class Part:
    """Parameters below a prefix."""

    def __init__(self, tensors, prefix=""):
        self.tensors, self.prefix = tensors, prefix

    def __getitem__(self, name):
        return self.tensors[self.prefix + name]

    def under(self, name):
        return Part(self.tensors, f"{self.prefix}{name}.")

    def count(self, name):
        start = f"{self.prefix}{name}."
        return len({key[len(start) :].split(".")[0] for key in self.tensors if key.startswith(start)})

    def linear(self, name, weight=".weight", bias=".bias"):
        weight = self[name + weight]
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = weight, self[name + bias]
        return layer

    def norm(self, name, eps):
        layer = nn.LayerNorm(self[f"{name}.weight"].shape[0], eps=eps)
        layer.weight.data, layer.bias.data = self[f"{name}.weight"], self[f"{name}.bias"]
        return layer


def split(x, heads):
    rows, length, width = x.shape
    return x.view(rows, length, heads, width // heads).transpose(1, 2)


def joined(x):
    rows, heads, length, width = x.shape
    return x.transpose(1, 2).reshape(rows, length, heads * width)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, heads, causal, norm1, qkv, out, norm2, up, down):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.qkv, self.out, self.norm2, self.up, self.down = norm1, qkv, out, norm2, up, down

    def forward(self, x):
        q, k, v = (split(part, self.heads) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        x = x + self.out(joined(F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class TextTower(nn.Module):
    """Every position is computed, padding too; the pooled one is the last, or that of the largest id."""

    def __init__(self, part, heads, causal, eps):
        super().__init__()
        self.causal = causal
        self.tokens = nn.Embedding.from_pretrained(part["token_embedding.weight"])
        self.positions = part["positional_embedding"]
        blocks = []
        for number in range(part.count("transformer.resblocks")):
            block = part.under(f"transformer.resblocks.{number}")
            qkv = block.linear("attn", ".in_proj_weight", ".in_proj_bias")
            layers = (
                block.norm("ln_1", eps),
                qkv,
                block.linear("attn.out_proj"),
                block.norm("ln_2", eps),
                block.linear("mlp.c_fc"),
                block.linear("mlp.c_proj"),
            )
            blocks.append(Block(heads, causal, *layers))
        self.blocks = nn.Sequential(*blocks)
        self.norm = part.norm("ln_final", eps)
        if causal:
            width = part["text_projection"].shape
            self.projection = nn.Linear(*width, bias=False)
            self.projection.weight.data = part["text_projection"].T.contiguous()
        else:
            self.projection = part.linear("text_projection")

    def forward(self, ids):
        x = self.norm(self.blocks(self.tokens(ids) + self.positions))
        pooled = x[torch.arange(len(x)), ids.argmax(dim=-1)] if self.causal else x[:, -1]
        return F.normalize(self.projection(pooled), dim=-1)


class ImageTower(nn.Module):
    """Vision transformer without class token; one learned query pools by attention."""

    def __init__(self, part, heads, eps=1e-6):
        super().__init__()
        self.heads = heads
        weight = part["patch_embed.proj.weight"]
        self.patches = nn.Conv2d(3, weight.shape[0], weight.shape[2], weight.shape[2])
        self.patches.weight.data, self.patches.bias.data = weight, part["patch_embed.proj.bias"]
        self.positions = part["pos_embed"]
        blocks = []
        for number in range(part.count("blocks")):
            block = part.under(f"blocks.{number}")
            layers = (
                block.norm("norm1", eps),
                block.linear("attn.qkv"),
                block.linear("attn.proj"),
                block.norm("norm2", eps),
                block.linear("mlp.fc1"),
                block.linear("mlp.fc2"),
            )
            blocks.append(Block(heads, False, *layers))
        self.blocks = nn.Sequential(*blocks)
        self.norm = part.norm("norm", eps)
        pool = part.under("attn_pool")
        self.latent = pool["latent"]
        self.q, self.kv, self.proj = pool.linear("q"), pool.linear("kv"), pool.linear("proj")
        self.pool_norm = pool.norm("norm", eps)
        self.up, self.down = pool.linear("mlp.fc1"), pool.linear("mlp.fc2")

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2) + self.positions
        x = self.norm(self.blocks(x))
        q = split(self.q(self.latent.expand(len(x), -1, -1)), self.heads)
        k, v = (split(part, self.heads) for part in self.kv(x).chunk(2, dim=-1))
        x = self.proj(joined(F.scaled_dot_product_attention(q, k, v)))
        x = x + self.down(F.gelu(self.up(self.pool_norm(x))))
        return F.normalize(x[:, 0], dim=-1)


def plain(case, weights):
    """A tower as plain modules."""
    part = Part(weights)
    if case == "image":
        return ImageTower(part.under("visual.trunk"), heads=12)
    if case == "text":
        return TextTower(part.under("text"), heads=12, causal=False, eps=1e-6)
    return TextTower(part, heads=8, causal=True, eps=1e-5)


def of_open_clip(case, weights):
    """The same tower of open_clip, with the same weights."""
    import open_clip

    model = open_clip.create_model("ViT-B-16" if case == "prompts" else "ViT-B-16-SigLIP", pretrained=None)
    if case == "prompts":
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("visual.")}
    missing, unknown = model.load_state_dict(weights, strict=False)
    missing = [name for name in missing if not name.startswith(("visual.", "logit_")) or case != "prompts"]
    missing = [name for name in missing if not name.startswith("logit_") and not name.endswith("attn_mask")]
    if missing or unknown:
        raise SystemExit(f"open_clip has other parameters: {missing} {unknown}")
    model.eval()
    encode = model.encode_image if case == "image" else model.encode_text
    return lambda inputs: encode(inputs, normalize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("case", choices=["text", "image", "prompts"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--open-clip", action="store_true")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    causal = options.case == "prompts"
    weights = load_file(options.folder / ("causal" if causal else "siglip") / "open_clip_model.safetensors")
    inputs = load_file(options.folder / ("prompts.safetensors" if causal else "inputs.safetensors"))
    inputs = inputs["pixels" if options.case == "image" else "ids"]
    tower = (of_open_clip if options.open_clip else plain)(options.case, weights)
    if options.compile:
        tower = torch.compile(tower)

    @torch.inference_mode()
    def step():
        return tower(inputs)[:, 0].abs().sum().item()

    serve(("open_clip" if options.open_clip else f"torch {torch.__version__}") + f" {options.case}", step)


if __name__ == "__main__":
    main()
