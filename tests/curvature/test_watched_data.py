"""Data that are written into after an operator was made of them do not go unsaid."""

import warnings

import pytest
import torch
from torch import nn

import orograph as og
from orograph.errors import OrographWarning


def test_data_that_were_written_into_since_are_said_once() -> None:
    inputs, targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    operator = og.HessianOperator(nn.Linear(4, 3), nn.CrossEntropyLoss(), [(inputs, targets)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator @ torch.ones(15)
        og.lanczos(operator, k=1)
    inputs.mul_(2)
    moved = operator.at(operator.theta + 1)  # one that shares the data
    with pytest.warns(OrographWarning, match="the data were written into since this operator was made"):
        operator @ torch.ones(15)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator @ torch.ones(15)
        moved @ torch.ones(15)


def test_so_are_targets_and_not_what_was_copied() -> None:
    inputs, targets = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    operator = og.HessianOperator.of(og.Objective(nn.Linear(4, 3), nn.CrossEntropyLoss(), [(inputs, targets)]))
    copied = og.HessianOperator(nn.Linear(4, 3), nn.CrossEntropyLoss(), [(inputs, targets), (inputs.clone(), targets)])
    targets[0] = 2
    with pytest.warns(OrographWarning, match="the data were written into"):
        assert operator.loss > 0
    with warnings.catch_warnings():  # batches were joined: it goes on with what they were
        warnings.simplefilter("error")
        copied @ torch.ones(15)
