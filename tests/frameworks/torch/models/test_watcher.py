"""A module that serves: on the node's memory, in evaluation mode, swapped whole, and never with a hole in it."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from alluxio.torch import ModelWatcher, save_model
from alluxio_lance.errors import InvalidArgument

pytestmark = pytest.mark.torch

LIMIT = 20


class Net(nn.Module):
    """A layer, statistics, a parameter with two names, and dropout that evaluation mode turns off."""

    def __init__(self, width=64):
        super().__init__()
        self.embed = nn.Embedding(10, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.9)
        self.head = nn.Linear(width, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        """Look up, normalize, and look back."""
        return self.head(self.drop(self.norm(self.embed(tokens))))


class Turning(nn.Module):
    """Has a buffer that is computed when it is made and never saved."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.register_buffer("angles", torch.arange(4.0), persistent=False)


def trained(seed):
    """Make weights and statistics by a seed."""
    torch.manual_seed(seed)
    net = Net()
    net(torch.randint(10, (32,)))
    return net.eval()


QUESTION = torch.arange(10)


def test_a_module_serves_and_is_swapped(node):
    """Its answers are those of the module that was saved, exactly; its parameters are the node's memory."""
    uri, at = "alluxio://models/watch/net", node.at
    first, second = trained(1), trained(2)
    save_model(uri, first, address=at)
    swapped, made = threading.Event(), []

    def make():
        made.append(threading.current_thread().name)
        return Net()

    with ModelWatcher(uri, make, at, on_swap=lambda _: swapped.set(), verify=True) as watcher:
        with watcher.current() as module, torch.inference_mode():
            assert torch.equal(module(QUESTION), first(QUESTION))
            assert not module.training
            assert not any(parameter.requires_grad for parameter in module.parameters())
            assert module.head.weight is module.embed.weight
        save_model(uri, second, address=at)
        assert swapped.wait(LIMIT)
        with watcher.use() as served, torch.inference_mode():
            assert torch.equal(served.model(QUESTION), second(QUESTION))
            assert served.layout.semver == "1.1.0"
        with torch.inference_mode():
            assert torch.equal(module(QUESTION), first(QUESTION))
    # Ahead of time, too: a module for the next version is there when it comes.
    assert made[0] == threading.main_thread().name
    assert set(made[1:]) == {"alluxio-lance serve watch/net"}


def test_weights_that_do_not_fit_leave_the_old_module(node):
    """Another width fails to load: `on_error` says which tensor, and the old one answers."""
    uri, at = "alluxio://models/watch/width", node.at
    first = trained(1)
    save_model(uri, first, address=at)
    failed, errors = threading.Event(), []

    def on_error(error):
        errors.append(error)
        failed.set()

    with ModelWatcher(uri, Net, at, on_error=on_error, retry=(3600, 3600)) as watcher:
        save_model(uri, Net(width=32), address=at)
        assert failed.wait(LIMIT)
        with watcher.current() as module, torch.inference_mode():
            assert torch.equal(module(QUESTION), first(QUESTION))
        assert watcher.statistics().wanted == "1.1.0"
    assert isinstance(errors[0], InvalidArgument)
    assert "embed.weight" in errors[0].message


def test_a_module_is_prepared_before_it_serves(node):
    """What is made of it serves in its place; where that fails, the one before goes on."""
    uri, at = "alluxio://models/watch/prepared", node.at
    first, second = trained(1), trained(2)
    asked, failed, swapped = [], threading.Event(), threading.Event()

    def prepare(module):
        assert not module.training
        with torch.inference_mode():
            asked.append(module(QUESTION))
        if len(asked) == 2:
            raise ValueError("it answers nonsense")
        return nn.Sequential(module) if len(asked) == 3 else None

    save_model(uri, first, address=at)
    with ModelWatcher(
        uri, Net, at, lambda _: swapped.set(), lambda _: failed.set(), prepare=prepare, retry=(3600, 3600)
    ) as watcher:
        assert torch.equal(asked[0], first(QUESTION))
        with watcher.current() as module:
            assert type(module) is Net
        save_model(uri, second, address=at)
        assert failed.wait(LIMIT)
        assert watcher.statistics().semver == "1.0.0"
        third = trained(3)
        save_model(uri, third, address=at)
        assert swapped.wait(LIMIT)
        with watcher.current() as module, torch.inference_mode():
            assert type(module) is nn.Sequential
            assert torch.equal(module(QUESTION), third(QUESTION))


@pytest.mark.filterwarnings("ignore:angles of Turning are still on the meta device")
def test_what_a_module_computes_itself_must_be_computed(node):
    """A buffer without weights is named and refused on the meta device; off it the module computes it."""
    uri, at = "alluxio://models/watch/turning", node.at
    save_model(uri, Turning(), address=at)
    with pytest.raises(InvalidArgument, match=r"has nothing for angles of Turning.*on_meta=False"):
        ModelWatcher(uri, Turning, at)
    with ModelWatcher(uri, Turning, at, on_meta=False) as watcher, watcher.current() as module:
        assert torch.equal(module.angles, torch.arange(4.0))
