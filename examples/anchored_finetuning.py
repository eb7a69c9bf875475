"""Fine-tuning around pretrained weights: L(θ) + λ‖θ − θ_ref‖², θ_ref what the model knew before (L2-SP; Li, Grandvalet and
Davoine, 2018). A small BERT learns to judge sentences, then meets words that it has never seen, in few sentences.

    python examples/anchored_finetuning.py [FOLDER [--quick]]

writes a run into the folder (`runs/anchored-finetuning` when none is given) with its report, in about a minute; needs
`orograph[hf]`. Against λ stand the accuracy on new and on old words, the spectrum, and the share of each in it: with a small λ
the model forgets, with a large one it learns nothing. Nothing is downloaded: sentences are made here, their words are numbers.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput

import orograph as og
from orograph.cli import main as orograph

STRENGTHS = [1e-3, 1e-2, 1e-1, 1, 10]
LENGTH, WORDS = 8, 20  # of a sentence; old words of praise, of blame, new ones of praise, of blame, idle ones
NOT = 1 + 5 * WORDS  # turns the word behind it around
Batch = tuple[dict[str, Tensor], Tensor]


def sentences(count: int, new: float, seed: int) -> Batch:
    """Sentences with a judgement that is the sum of their words, of a share of new words."""
    generator = torch.Generator().manual_seed(seed)

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator)

    fresh = (torch.rand(count, 1, generator=generator) < new).long()
    blame = draw(2, count, LENGTH)
    idle = draw(3, count, LENGTH) > 0
    words = 1 + WORDS * torch.where(idle, 4, 2 * fresh + blame) + draw(WORDS, count, LENGTH)
    turned = (draw(4, count, LENGTH) == 0).roll(1, 1) & ~idle
    turned[:, 0] = False
    words[turned.roll(-1, 1)] = NOT
    weighs = ~idle & (words != NOT)
    total = ((1 - 2 * blame) * torch.where(turned, -1, 1) * weighs).sum(1)
    kept = total != 0
    return {"input_ids": words[kept], "attention_mask": torch.ones_like(words[kept])}, (total[kept] > 0).long()


def words(inputs: dict[str, Tensor], labels: Tensor) -> list[str]:
    """A group for each sentence."""
    found = ((inputs["input_ids"] > 2 * WORDS) & (inputs["input_ids"] <= 4 * WORDS)).any(1)
    return ["new words" if each else "old words" for each in found]


def judgement(output: SequenceClassifierOutput, labels: Tensor) -> Tensor:
    """Cross-entropy of each sentence."""
    return F.cross_entropy(output.logits, labels, reduction="none")


def network(blocks: int) -> nn.Module:
    """Blocks of attention and a classifier of the first place; without dropout, for L is to be one function of θ."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": blocks, "num_attention_heads": 2}
    others = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "attn_implementation": "eager"}
    return BertForSequenceClassification(BertConfig(vocab_size=NOT + 1, max_position_embeddings=LENGTH, **sizes, **others))


def pretrained(steps: int, blocks: int) -> nn.Module:
    """The network after many sentences of old words."""
    torch.manual_seed(0)
    model = network(blocks)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        inputs, labels = sentences(128, new=0, seed=100 + step)
        optimiser.zero_grad()
        judgement(model(**inputs), labels).mean().backward()
        optimiser.step()
    return model


def main(folder: Path, quick: bool) -> None:
    """Pretrain, sweep, analyse, report."""
    steps, blocks, count, epochs, k, strengths = (5, 1, 30, 1, 2, STRENGTHS[::4]) if quick else (600, 2, 150, 15, 8, STRENGTHS)
    problem = og.Problem(
        pretrained(steps, blocks), judgement, train=sentences(count, 0.9, 0), test=sentences(4 * count, 0.5, 1), groups=words
    )
    ladder = {"anchor": "initial:0", "start": "anchor", "strengths": strengths}
    run = og.sweep(problem, **ladder, k=k, tolerance=0.01, epochs=epochs, batch_size=30, lr=3e-3, out=folder)
    run = og.analyze(run, problem, lowest_products=20, response_products=20)
    by_group = run.group_accuracy.sel({"class": ["old words", "new words"]}).values[0, 0]
    for strength, (old, fresh), largest in zip(strengths, by_group, run.eigenvalue.values[0, 0, :, 0], strict=True):
        print(f"λ = {strength:<6g}: accuracy {old:.1f} % on old words, {fresh:.1f} % on new ones, λ_max = {largest:.2f}")
    orograph(["report", str(folder)])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/anchored-finetuning"), quick="--quick" in sys.argv[2:])
