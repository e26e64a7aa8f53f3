"""Decoding as the original does it, for `cargo bench --bench decoding`.

Every step recomputes the whole sequence of every candidate, finished or not;
guides are dense masks over all nouns; nothing is cached. Reads the model, the
nouns and the embeddings that the benchmark saves with `save=FILE`, decodes them
and says how long it took and what came out.

    cargo bench --bench decoding -- hidden=512 layers=6 nouns=40000 save=/tmp/decoding.safetensors
    python benches/peers/decoding.py /tmp/decoding.safetensors beam_k10_gp greedy_k1_gn
"""

import json
import sys
import time

import torch
from safetensors import safe_open
from torch import nn


class Decoder(nn.Module):
    def __init__(self, tensors, meta):
        super().__init__()
        self.hidden, self.prefix = meta["hidden"], meta["prefix"]
        dim = tensors["embed_mlp.mlp.0.weight"].shape[1]
        self.mlp = nn.Linear(dim, self.prefix * self.hidden, bias=False)
        feedforward = tensors["transformer.layers.0.linear1.weight"].shape[0]
        layer = nn.TransformerEncoderLayer(
            self.hidden, meta["heads"], feedforward, dropout=0.0, activation="gelu",
            batch_first=True, norm_first=True, bias=False)
        self.transformer = nn.TransformerEncoder(
            layer, meta["layers"], nn.LayerNorm(self.hidden, bias=False), enable_nested_tensor=False)
        state = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()
                 if name.startswith("transformer.")}
        self.transformer.load_state_dict(state)
        self.mlp.weight.data = tensors["embed_mlp.mlp.0.weight"]
        self.tokens = tensors["logits_linear.weight"]
        self.positions = tensors["pos_embedding.embedding.weight"]

    def prefix_of(self, embeds):
        embeds = nn.functional.normalize(embeds, dim=-1)
        return self.mlp(embeds).view(len(embeds), self.prefix, self.hidden)

    def forward(self, prefix, tokens):
        """Logits behind `tokens` [A, c] of prefixes [A, P, E]."""
        x = torch.cat((prefix, self.tokens[tokens]), dim=1)
        length = x.shape[1]
        x = x + self.positions[:length]
        mask = torch.full((length, length), -torch.inf).triu(1)
        mask[: self.prefix, : self.prefix] = 0
        return self.transformer(x, mask=mask)[:, -1] @ self.tokens.T


def allowed(guide, mask, step, vocab):
    """Tokens [A, V] that continue the nouns of `mask` [A, W]."""
    out = torch.zeros((len(mask), vocab), dtype=torch.bool)
    columns = guide[:, step].expand(len(mask), -1)
    # Nouns outside of the mask go to a column of their own.
    out = torch.zeros((len(mask), vocab + 1), dtype=torch.bool)
    out.scatter_(1, torch.where(mask, columns, vocab), True)
    return out[:, :vocab]


@torch.inference_mode()
def greedy(model, embeds, guide, vocab, steps):
    batch = len(embeds)
    prefix = model.prefix_of(embeds)
    tokens = torch.zeros((batch, 0), dtype=torch.long)
    mask = None if guide is None else torch.ones((batch, len(guide)), dtype=torch.bool)
    finished = torch.zeros(batch, dtype=torch.bool)
    scores = torch.zeros(batch)
    for step in range(steps):
        logits = model(prefix, tokens)
        logp = logits.log_softmax(-1)
        choice = logits.clone()
        if mask is None:
            if step == 0:
                choice[:, 0] = -torch.inf
        else:
            choice[~allowed(guide, mask, step, vocab)] = -torch.inf
        token = torch.where(finished, 0, choice.argmax(-1))
        scores += torch.where(finished, 0, logp.gather(1, token[:, None])[:, 0])
        tokens = torch.cat((tokens, token[:, None]), dim=1)
        if mask is not None:
            mask &= guide[None, :, step] == token[:, None]
        finished |= token == 0
        if finished.all():
            break
    return tokens[:, None], scores[:, None]


@torch.inference_mode()
def beam(model, embeds, guide, vocab, steps, k):
    batch = len(embeds)
    prefix = model.prefix_of(embeds).repeat_interleave(k, dim=0)
    tokens = torch.zeros((batch, k, 0), dtype=torch.long)
    scores = torch.full((batch, k), -torch.inf)
    scores[:, 0] = 0
    finished = torch.zeros((batch, k), dtype=torch.bool)
    mask = None if guide is None else torch.ones((batch, k, len(guide)), dtype=torch.bool)
    for step in range(steps):
        logits = model(prefix, tokens.view(batch * k, step))
        logp = logits.log_softmax(-1).view(batch, k, vocab)
        end_only = torch.full((vocab,), -torch.inf)
        end_only[0] = 0
        logp = torch.where(finished[..., None], end_only, logp)
        total = scores[..., None] + logp
        if step == 0:
            total[..., 0] = -torch.inf
        if mask is not None:
            possible = allowed(guide, mask.view(batch * k, -1), step, vocab).view(batch, k, vocab)
            possible |= finished[..., None] & (torch.arange(vocab) == 0)
            total.masked_fill_(~possible, -torch.inf)
        scores, flat = total.view(batch, -1).topk(k, dim=-1)
        parent, token = flat // vocab, flat % vocab
        tokens = torch.cat((tokens.gather(1, parent[..., None].expand(-1, -1, step)), token[..., None]), dim=2)
        finished = finished.gather(1, parent) | (token == 0)
        if mask is not None:
            mask = mask.gather(1, parent[..., None].expand(-1, -1, len(guide)))
            mask &= (guide[None, None, :, step] == token[..., None]) | finished[..., None]
        if finished.all():
            break
    return tokens, scores


@torch.inference_mode()
def everything(model, embeds, guide, lengths, vocab, k):
    """All nouns by teacher forcing, in chunks of k."""
    batch, columns = len(embeds), guide.shape[1]
    prefix = model.prefix_of(embeds)
    best, which = torch.full((batch, k), -torch.inf), torch.zeros((batch, k), dtype=torch.long)
    counted = torch.arange(columns)[None] < lengths[:, None]
    for start in range(0, len(guide), k):
        nouns = guide[start:start + k]
        count = len(nouns)
        inputs = nouns[:, :-1].repeat(batch, 1)
        x = torch.cat((prefix.repeat_interleave(count, dim=0), model.tokens[inputs]), dim=1)
        x = x + model.positions[: x.shape[1]]
        mask = torch.full((x.shape[1],) * 2, -torch.inf).triu(1)
        mask[: model.prefix, : model.prefix] = 0
        hidden = model.transformer(x, mask=mask)[:, model.prefix - 1:]
        logp = (hidden @ model.tokens.T).log_softmax(-1)
        picked = logp.gather(2, nouns.repeat(batch, 1)[..., None])[..., 0].view(batch, count, columns)
        score = (picked * counted[start:start + k]).sum(-1)
        together = torch.cat((best, score), dim=1)
        index = torch.cat((which, torch.arange(start, start + count).expand(batch, -1)), dim=1)
        best, order = together.topk(k, dim=1)
        which = index.gather(1, order)
    return guide[which], best


def main():
    path, names = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(int(json.loads(safe_open(path, "pt").metadata()["decoding"])["threads"]))
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["decoding"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    embeds, guide = tensors.pop("embeds"), tensors.pop("nouns").long()
    expected = {name: tensors.pop(f"result.{name}") for name in meta["results"]}
    model = Decoder(tensors, meta).eval()
    vocab, columns = model.tokens.shape[0], meta["columns"]
    lengths = (guide != 0).sum(1) + 1
    for name in names or list(expected):
        method, _, rest = name.partition("_k")
        k = int(rest.split("_")[0])
        guided = None if "_gn" in name else guide
        run = {
            "greedy": lambda: greedy(model, embeds, guided, vocab, columns - 1),
            "beam": lambda: beam(model, embeds, guided, vocab, columns - 1, k),
            "all": lambda: everything(model, embeds, guide, lengths, vocab, k),
        }[method]
        if method != "all":
            run()
        begun = time.perf_counter()
        _, scores = run()
        seconds = time.perf_counter() - begun
        line = f"{name:>30} {len(embeds) / seconds:8.1f} embeddings/s {seconds * 1e3:10.1f} ms per batch"
        if name in expected:
            difference = (scores - expected[name]).abs()
            difference = difference[torch.isfinite(difference)].max().item()
            line += f"   scores differ by {difference:.1e}, {seconds / meta['seconds'][name]:.1f} x the time"
        print(line, flush=True)


if __name__ == "__main__":
    main()
