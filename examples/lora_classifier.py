"""A classifier adapted by LoRA (peft): θ is the factors of small rank and the last layer alone, the pretrained weights around
them stay. A sweep of λ‖θ − θ_ref‖² around the factors as they begin, which is the pretrained model.

    python examples/lora_classifier.py [FOLDER [--quick]]

writes a run into the folder (`runs/lora` when none is given) with its report, in about a minute; needs `orograph[hf]`. Model and
sentences are those of `anchored_finetuning.py`.
"""

import copy
import sys
from pathlib import Path

from anchored_finetuning import judgement, pretrained, sentences, words
from peft import LoraConfig, get_peft_model
from torch import nn

import orograph as og
from orograph.cli import main as orograph

STRENGTHS = [1e-3, 1e-2, 1e-1, 1, 10]


def adapted(model: nn.Module) -> nn.Module:
    """A model with factors of rank 2 beside each of its layers; what they begin with is drawn from torch's stream."""
    layers = ["query", "key", "value", "dense", "word_embeddings"]
    return get_peft_model(copy.deepcopy(model), LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=4, target_modules=layers))


def main(folder: Path, quick: bool) -> None:
    """Pretrain, adapt, sweep, analyse, report."""
    steps, blocks, count, epochs, k, strengths = (5, 1, 30, 1, 2, STRENGTHS[::4]) if quick else (600, 2, 120, 15, 5, STRENGTHS)
    base = pretrained(steps, blocks)

    def lora() -> nn.Module:
        return adapted(base)

    train, test = sentences(count, 0.9, 0), sentences(4 * count, 0.5, 1)
    problem = og.Problem(lora, judgement, train=train, test=test, groups=words)
    ladder = {"anchor": "initial:0", "start": "anchor", "strengths": strengths}
    run = og.sweep(problem, **ladder, k=k, tolerance=0.01, epochs=epochs, batch_size=30, lr=0.01, out=folder)
    run = og.analyze(run, problem, lowest_products=20, response_products=20)
    print(f"θ has {run.sizes['parameter']:,} of {sum(each.numel() for each in problem.build(0).parameters()):,} parameters")
    for strength, accuracy, largest in zip(
        strengths, run.test_accuracy.values[0, 0], run.eigenvalue.values[0, 0, :, 0], strict=True
    ):
        print(f"λ = {strength:<6g}: accuracy {accuracy:.1f} %, λ_max = {largest:.2f}")
    orograph(["report", str(folder)])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/lora"), quick="--quick" in sys.argv[2:])
