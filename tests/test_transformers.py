"""Models of transformers and peft, built from configurations with random weights: mappings in, `ModelOutput` out, labels with
ignored positions, tied weights, factors of small rank.

Independent of the code: transformers' own loss, and dense float64 Hessians of it by double backward through `functional_call`.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import orograph as og

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
pytestmark = pytest.mark.slow

VOCABULARY, LENGTH = 6, 5


def gpt2(attention: str = "eager") -> nn.Module:
    sizes = {"n_positions": LENGTH, "n_embd": 2, "n_layer": 1, "n_head": 1, "bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=VOCABULARY, attn_implementation=attention, **sizes)
    ).eval()


def llama() -> nn.Module:
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "attn_implementation": "eager"}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "bos_token_id": 0, "eos_token_id": 0}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=VOCABULARY, **sizes, **heads)).eval()


def next_token(output: Any, labels: Tensor, reduction: str = "mean", ignore_index: int = -100) -> Tensor:
    scores = output.logits[:, :-1].transpose(1, 2)
    return F.cross_entropy(scores, labels[:, 1:], reduction=reduction, ignore_index=ignore_index)


def texts(lengths: tuple[int, ...], padded: int) -> tuple[dict[str, Tensor], Tensor]:
    """Texts of unequal lengths, padded to one; nothing counts at the padding and at the first place."""
    generator = torch.Generator().manual_seed(padded)
    tokens = torch.randint(0, VOCABULARY, (len(lengths), padded), generator=generator)
    there = torch.arange(padded) < torch.tensor(lengths)[:, None]
    labels = tokens.masked_fill(~there, -100)
    labels[:, 0] = -100
    return {"input_ids": tokens, "attention_mask": there.long()}, labels


# Llama normalises in float32 whatever its parameters are; GPT-2 computes in their float64.
@pytest.mark.parametrize(("build", "exact"), [(gpt2, 1e-9), (llama, 1e-4)])
def test_a_language_models_loss_gradient_and_hessian_are_those_of_transformers_own_loss(build: Any, exact: float) -> None:
    torch.manual_seed(0)
    model = build().double()
    batches = [texts((4, 2, 4), 4), texts((5, 3), 5)]  # padded to different lengths
    operator = og.HessianOperator(model, next_token, batches)
    shapes = {name: each.shape for name, each in model.named_parameters()}
    counted = sum(int((labels != -100).sum()) for _, labels in batches)

    def loss(theta: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in shapes.values()])
        given = {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
        total = torch.zeros((), dtype=theta.dtype)
        for inputs, labels in batches:
            logits = torch.func.functional_call(model, given, (), inputs).logits
            for row, (text, length) in enumerate(zip(labels, inputs["attention_mask"].sum(1), strict=True)):
                for place in range(1, int(length)):
                    total = total - logits[row, place - 1].log_softmax(0)[text[place]]
        return total / counted

    theta = torch.cat([each.detach().flatten() for each in model.parameters()])
    own = sum(float(model(**inputs, labels=labels).loss) * int((labels != -100).sum()) for inputs, labels in batches) / counted
    assert operator.over == "counted targets"
    assert float(operator.loss) == pytest.approx(own, rel=1e-6)  # transformers takes it in float32
    assert float(operator.loss) == pytest.approx(loss(theta).item(), rel=exact)
    gradient = torch.autograd.functional.jacobian(loss, theta)
    dense = torch.autograd.functional.hessian(loss, theta, vectorize=True)
    assert (operator.gradient - gradient).norm() <= exact * gradient.norm()
    assert (operator @ torch.eye(len(theta), dtype=theta.dtype) - dense).norm() <= exact * dense.norm()


def test_eager_attention_is_chosen_once_and_said_and_the_given_module_keeps_its_own() -> None:
    model = gpt2("sdpa")
    problem = og.Problem(model, next_token, train=[texts((4, 2), 4)])
    with pytest.warns(UserWarning, match="eager attention in place of sdpa"):
        built = problem.build(0)
    assert built.config._attn_implementation == "eager"
    assert model.config._attn_implementation == "sdpa"
    inputs, _ = texts((4, 2), 4)
    there = inputs["attention_mask"].bool()
    torch.testing.assert_close(built(**inputs).logits[there], model(**inputs).logits[there])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("masked", [True, False])
def test_a_model_that_looks_at_the_values_of_its_mask_is_traced(attention: str, masked: bool) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    configuration = transformers.BertConfig(vocab_size=VOCABULARY, attn_implementation=attention, **sizes)
    model = transformers.BertForSequenceClassification(configuration).eval()
    inputs, _ = texts((4, 2, 4), 4)
    given = inputs if masked else {"input_ids": inputs["input_ids"]}
    operator = og.HessianOperator(
        model, lambda output, labels: F.cross_entropy(output.logits, labels), [(given, torch.arange(3) % 2)]
    )
    assert operator.fallback_reason == ""
    assert operator.method == "traced"
    assert not torch.compiler.is_compiling()


def test_the_factors_of_lora_are_theta_and_the_weights_around_them_stay() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    configuration = transformers.BertConfig(
        vocab_size=VOCABULARY, max_position_embeddings=LENGTH, attn_implementation="eager", **sizes
    )
    base = transformers.BertForSequenceClassification(configuration)
    model = (
        peft.get_peft_model(base, peft.LoraConfig(task_type="SEQ_CLS", r=1, target_modules=["query", "value"])).double().eval()
    )
    with torch.no_grad():  # at B = 0 most of the Hessian is zero
        for name, each in model.named_parameters():
            if "lora_B" in name:
                each.normal_()
    inputs, _ = texts((4, 2, 4), 4)
    labels = torch.tensor([0, 1, 1])

    def judgement(output: Any, labels: Tensor) -> Tensor:
        return F.cross_entropy(output.logits, labels, reduction="none")

    operator = og.HessianOperator(model, judgement, [(inputs, labels)])
    moved = {name: each for name, each in model.named_parameters() if each.requires_grad}
    assert all("lora_" in name or "classifier" in name for name in moved)

    def loss(theta: Tensor) -> Tensor:
        parts = theta.split([each.numel() for each in moved.values()])
        given = {name: part.view(each.shape) for part, (name, each) in zip(parts, moved.items(), strict=True)}
        return torch.func.functional_call(model, given, (), {**inputs, "labels": labels}).loss

    theta = torch.cat([each.detach().flatten() for each in moved.values()])
    dense = torch.autograd.functional.hessian(loss, theta, vectorize=True)
    torch.testing.assert_close(operator @ torch.eye(len(theta), dtype=theta.dtype), dense, rtol=1e-8, atol=1e-11)
