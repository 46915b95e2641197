"""A character-level transformer that learns to write Python: its text is the standard library's own source."""

import math
import string
import sysconfig
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, Subset

from launcher import Task

ALPHABET = string.printable
MODULES = [
    "argparse",
    "ast",
    "configparser",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "difflib",
    "functools",
    "inspect",
]
LONGEST = 64 * 1024
"""Characters taken of one module."""


def build(
    width: int = 128,
    layers: int = 4,
    heads: int = 4,
    context: int = 64,
    dropout: float = 0.1,
    learning_rate: float = 1e-3,
    warmup: int = 30,
) -> Task:
    windows = Windows(source_text(), context)
    held_out = len(windows) // 10
    model = Transformer(width, layers, heads, context, dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.1)

    def schedule(steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        """Linear warm-up, then half a cosine down to a tenth."""

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.55 + 0.45 * math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup)))

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    return Task(
        model=model,
        optimizer=optimizer,
        data=Subset(windows, range(len(windows) - held_out)),
        loss=lambda model, batch: next_character_loss(model, batch).mean(),
        validation=Subset(windows, range(len(windows) - held_out, len(windows))),
        metrics=lambda model, batch: {"validation_loss": next_character_loss(model, batch)},
        scheduler=schedule,
    )


def next_character_loss(model, text):
    """Mean loss of each window: shape [batch]."""
    output = model(text[:, :-1])
    return F.cross_entropy(output.transpose(1, 2), text[:, 1:], reduction="none").mean(dim=1)


class Windows(Dataset):
    """The text in pieces of `context` characters and the one that follows, as numbers; each starts where one ends."""

    def __init__(self, text: str, context: int) -> None:
        numbers = {character: number for number, character in enumerate(ALPHABET)}
        self.text = torch.tensor([numbers[character] for character in text if character in numbers])
        self.context = context

    def __len__(self) -> int:
        return (len(self.text) - 1) // self.context

    def __getitem__(self, index: int):
        begin = index * self.context
        return self.text[begin : begin + self.context + 1]


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, context: int, dropout: float) -> None:
        super().__init__()
        self.characters = nn.Embedding(len(ALPHABET), width)
        self.positions = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, len(ALPHABET), bias=False)
        self.apply(small_weights)

    def forward(self, text):
        positions = torch.arange(text.shape[1], device=text.device)
        hidden = self.dropout(self.characters(text) + self.positions(positions))
        return self.output(self.norm(self.blocks(hidden)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.attention_input = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, hidden):
        hidden = hidden + F.dropout(self.attention(self.attention_norm(hidden)), self.dropout, self.training)
        return hidden + self.feed_forward(hidden)

    def attention(self, hidden):
        batch, length, width = hidden.shape
        parts = self.attention_input(hidden).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return self.attention_output(mixed.transpose(1, 2).reshape(batch, length, width))


def small_weights(module):
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def source_text() -> str:
    folder = Path(sysconfig.get_path("stdlib"))
    return "".join((folder / f"{name}.py").read_text(encoding="utf-8")[:LONGEST] for name in MODULES)
