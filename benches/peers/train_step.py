"""The training step of the object decoder in PyTorch, to measure `novic` against.

The model is that of the default configuration: a prefix made from the embedding,
pre-norm layers without biases, tied token embedding, dropout 0.1. One step adds
noise to the embeddings, runs forward and backward, clips the gradients and
updates with AdamW, as the original does: every target runs the whole sequence,
every position gets logits, positions that are padding are left out of the loss.

    train_step.py FILE [--threads 2] [--compile] [--hidden 512] ...

FILE holds the batches, written by `cargo bench --bench training -- write=FILE`.
The program reads numbers of steps from its standard input, one a line, and
answers each with the wall-clock and the processor seconds they took.
"""

import argparse
import struct
import sys
import time

import numpy
import torch
from torch import nn
from torch.nn import functional as F


def read_batches(path):
    """Sizes, and (embeddings, ids, lengths, weights or None) of each batch."""
    with open(path, "rb") as file:
        magic, count, samples, dim, targets, columns, vocab, weighted = struct.unpack("<8I", file.read(32))
        if magic != 0x4E564254:
            sys.exit(f"{path} does not hold batches: write them with `cargo bench --bench training -- write={path}`")

        def array(kind, *shape):
            size = int(numpy.prod(shape))
            return torch.from_numpy(numpy.fromfile(file, kind, size).reshape(shape).copy())

        batches = []
        for _ in range(count):
            embeds = array("<f4", samples, dim)
            ids = array("<u4", samples * targets, columns).long()
            lengths = array("<u4", samples * targets).long()
            weights = array("<f4", samples * targets) if weighted else None
            batches.append((embeds, ids, lengths, weights))
    return dict(samples=samples, dim=dim, targets=targets, columns=columns, vocab=vocab), batches


class Layer(nn.Module):
    def __init__(self, hidden, heads, inner, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1 = nn.LayerNorm(hidden, bias=False)
        self.in_proj = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out_proj = nn.Linear(hidden, hidden, bias=False)
        self.norm2 = nn.LayerNorm(hidden, bias=False)
        self.linear1 = nn.Linear(hidden, inner, bias=False)
        self.linear2 = nn.Linear(inner, hidden, bias=False)

    def forward(self, x, mask):
        rows, length, hidden = x.shape
        qkv = self.in_proj(self.norm1(x)).view(rows, length, 3, self.heads, hidden // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.dropout)
        y = self.out_proj(y.transpose(1, 2).reshape(rows, length, hidden))
        x = x + F.dropout(y, self.dropout)
        y = F.dropout(F.gelu(self.linear1(self.norm2(x))), self.dropout)
        return x + F.dropout(self.linear2(y), self.dropout)


class Decoder(nn.Module):
    def __init__(self, sizes, options):
        super().__init__()
        hidden, self.prefix, self.dropout = options.hidden, options.prefix, options.dropout
        self.targets = sizes["targets"]
        longest = self.prefix + sizes["columns"] - 1
        inner = hidden // 4
        self.embed_mlp = nn.Linear(sizes["dim"], self.prefix * hidden, bias=False)
        self.logits = nn.Linear(hidden, sizes["vocab"], bias=False)
        self.positions = nn.Parameter(torch.empty(longest, hidden))
        self.layers = nn.ModuleList(Layer(hidden, options.heads, inner, self.dropout) for _ in range(options.layers))
        self.norm = nn.LayerNorm(hidden, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=hidden**-0.5)
        index = torch.arange(longest)
        allowed = (index[None] <= index[:, None]) | ((index[None] < self.prefix) & (index[:, None] < self.prefix))
        self.register_buffer("mask", torch.zeros(longest, longest).masked_fill(~allowed, -torch.inf), persistent=False)

    def forward(self, embeds, ids):
        prefix = self.embed_mlp(F.normalize(embeds, dim=-1)).view(len(embeds), self.prefix, -1)
        if self.targets > 1:
            prefix = prefix.repeat_interleave(self.targets, dim=0)
        x = torch.cat((prefix, F.embedding(ids[:, :-1], self.logits.weight)), dim=1)
        x = F.dropout(x + self.positions[: x.shape[1]], self.dropout)
        for layer in self.layers:
            x = layer(x, self.mask)
        return self.logits(self.norm(x)[:, self.prefix - 1 :])


def add_noise(embeds):
    """`GaussElemUniformAngle` as in the published commands."""
    samples, dim = embeds.shape
    noise = torch.randn_like(embeds)
    moved = F.normalize(embeds + 3.25 / dim**0.5 * noise, dim=-1)
    direction = torch.randn_like(embeds)
    direction = F.normalize(direction - (embeds * direction).sum(-1, keepdim=True) * embeds, dim=-1)
    angle = torch.deg2rad(torch.empty(samples, 1).uniform_(45, 75))
    turned = F.normalize(embeds * angle.cos() + direction * angle.sin(), dim=-1)
    return torch.where(torch.rand(samples, 1) < 0.15, turned, moved)


def loss_of(model, embeds, ids, lengths, weights):
    """Mean loss and the number of right predictions."""
    logits = model(embeds, ids)
    padding = torch.arange(ids.shape[1]) > lengths[:, None]
    aims = ids.masked_fill(padding, -100)
    losses = F.cross_entropy(logits.flatten(0, 1), aims.flatten(), ignore_index=-100, reduction="none")
    losses = losses.view_as(ids)
    if weights is None:
        loss = losses.sum() / (~padding).sum()
    else:
        loss = (losses.sum(1) * weights).sum() / ((~padding).sum(1) * weights).sum()
    correct = ((logits.argmax(-1) == ids) & ~padding).sum()
    return loss, correct


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("batches")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--prefix", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    sizes, batches = read_batches(options.batches)
    model = Decoder(sizes, options).train()
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [dict(params=vectors, weight_decay=0.0), dict(params=matrices, weight_decay=0.1)]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), foreach=True)
    loss_function = torch.compile(loss_of) if options.compile else loss_of

    def step(number):
        embeds, ids, lengths, weights = batches[number % len(batches)]
        loss, correct = loss_function(model, add_noise(embeds), ids, lengths, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=False, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss, correct

    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"torch {torch.__version__} parameters {count}", flush=True)
    number = 0
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            loss, _ = step(number)
            number += 1
        loss = loss.item()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{wall:.6f} {cpu:.6f} {loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
