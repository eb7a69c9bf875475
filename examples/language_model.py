"""GPT-2 or Llama from transformers, small and with random weights, on lines of Python's own language reference, character by
character: a sweep around a trained model, with the curvature of short and of long lines told apart.

    python examples/language_model.py [FOLDER [gpt2|llama] [--quick]]

writes a run into the folder (`runs/language-model` when none is given) with its report, in about a minute; needs `orograph[hf]`.
Inputs are a mapping, outputs a `ModelOutput`, and labels leave out the padding.
"""

import sys
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutput

import orograph as og
from orograph.cli import main as orograph

STRENGTHS = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
LENGTH = 40
IGNORED = -100
Batch = tuple[dict[str, Tensor], Tensor]


def lines(count: int) -> tuple[Batch, Batch]:
    """So many lines of text to train on and to test on, padded to one length."""
    text = [line[:LENGTH] for name in sorted(topics) for line in topics[name].splitlines() if len(line) > 8 and line.isascii()]
    text = text[:: len(text) // (2 * count)]
    tokens = torch.tensor([[*line.encode(), *[0] * (LENGTH - len(line))] for line in text])
    mask = (tokens > 0).long()
    labels = tokens.masked_fill(mask == 0, IGNORED)
    labels[:, 0] = IGNORED  # nothing comes before it
    parts = slice(0, 2 * count, 2), slice(1, 2 * count, 2)
    train, test = (({"input_ids": tokens[part], "attention_mask": mask[part]}, labels[part]) for part in parts)
    return train, test


def next_token(output: CausalLMOutput, labels: Tensor, reduction: str = "mean", ignore_index: int = IGNORED) -> Tensor:
    """transformers' own loss of a language model; the two settings tell what the mean is taken over."""
    scores = output.logits[:, :-1].transpose(1, 2)
    return F.cross_entropy(scores, labels[:, 1:], reduction=reduction, ignore_index=ignore_index)


def length(inputs: dict[str, Tensor], labels: Tensor) -> list[str]:
    """A group for each line."""
    return ["long" if each > LENGTH / 2 else "short" for each in inputs["attention_mask"].sum(1)]


def gpt2() -> nn.Module:
    """Two blocks; the output layer is the embedding. Without dropout, for L is to be one function of θ."""
    sizes = {"n_positions": LENGTH, "n_embd": 16, "n_layer": 2, "n_head": 2}
    others = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=128, attn_implementation="eager", **sizes, **others))


def llama() -> nn.Module:
    """Two blocks with rotary positions and keys that two heads share."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "attn_implementation": "eager"}
    return LlamaForCausalLM(LlamaConfig(vocab_size=128, **sizes, **heads))


def main(folder: Path, model: str, quick: bool) -> None:
    """Sweep, analyse, report."""
    count, epochs, k, strengths = (20, 1, 2, STRENGTHS[::4]) if quick else (150, 15, 8, STRENGTHS)
    train, test = lines(count)
    metrics = ["next_token_accuracy", "next_token_perplexity"]
    problem = og.Problem({"gpt2": gpt2, "llama": llama}[model], next_token, train, test, metrics=metrics, groups=length)
    ladder = {"anchor": "train:0", "start": "anchor", "strengths": strengths}
    run = og.sweep(problem, **ladder, k=k, tolerance=0.01, epochs=epochs, batch_size=20, lr=0.01, out=folder)
    run = og.analyze(run, problem, lowest_products=20, response_products=20)
    perplexities, largest = run.test_next_token_perplexity.values.ravel(), run.eigenvalue.values[0, 0, :, 0]
    for strength, perplexity, curvature in zip(strengths, perplexities, largest, strict=True):
        print(f"λ = {strength:<7g}: perplexity {perplexity:.2f}, λ_max = {curvature:.2f}")
    orograph(["report", str(folder)])


if __name__ == "__main__":
    words = [word for word in sys.argv[2:] if word != "--quick"]
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/language-model")
    main(out, words[0] if words else "gpt2", quick="--quick" in sys.argv[2:])
