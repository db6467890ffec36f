"""State dicts into modules: what is shared stays shared, what does not fit is named. No sidecar is needed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from alluxio_lance.errors import InvalidArgument
from alluxio_lance.frameworks.torch.models.assigning import assign

pytestmark = pytest.mark.torch


class Net(nn.Module):
    """A module that is in two places, a parameter with two names, a buffer that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.again = self.inner
        self.table = nn.Parameter(torch.zeros(3))
        self.alias = self.table
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("angles", torch.arange(3.0), persistent=False)


def give(net: nn.Module, tensors: dict[str, torch.Tensor], *, strict: bool = True, partial: bool = False) -> None:
    """Assign."""
    assign(net, tensors, "alluxio://models/x@v1", strict=strict, partial=partial)


@pytest.mark.parametrize("without", [(), ("alias",), ("table", "again.weight"), ("inner.bias",)])
def test_shared_parameters_stay_one(without):
    """Whichever of their names a checkpoint has; frozen ones stay frozen, and a step trains each once."""
    net = Net()
    state = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items() if name not in without}
    before = [name for name, _ in net.named_parameters()]
    give(net, state)
    assert net.table is net.alias
    assert net.again.weight is net.inner.weight
    assert [name for name, _ in net.named_parameters()] == before
    assert net.table.requires_grad
    assert not net.frozen.requires_grad
    assert all(bool((parameter == 1).all()) for parameter in net.parameters())
    assert net.count.data_ptr() == state["count"].data_ptr()


def test_names_of_one_parameter_with_other_numbers_are_refused():
    """Neither of them would be lost in silence; the same bits under two names are no fault, not even NaN."""
    net, nan = Net(), torch.full((3,), torch.nan)
    give(net, {"table": nan, "alias": nan.clone()}, strict=False)
    with pytest.raises(InvalidArgument, match=r"table and alias are one parameter of the module, and have different"):
        give(net, {"table": torch.zeros(3), "alias": torch.ones(3)}, strict=False)
    assert net.table.isnan().all()


def test_other_types_are_taken_as_they_are():
    """The module gets the element types of the version."""
    net = Net()
    give(net, {name: tensor.to(torch.bfloat16) for name, tensor in net.state_dict().items()})
    assert net.table.dtype is torch.bfloat16


def test_what_stays_on_meta_is_told():
    """A buffer that no state dict has must be computed: a warning names it."""
    with torch.device("meta"):
        net = Net()
    state = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in net.state_dict().items()}
    with pytest.warns(UserWarning, match="angles of Net are still on the meta device"):
        give(net, state)
    assert not net.inner.weight.is_meta


def test_names_and_shapes_that_do_not_fit():
    """Each fault has its names, a long list its length; with other shapes nothing was changed."""
    net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(8)))
    state = net.state_dict()
    wide = {name: torch.zeros(3, 3) for name in state}
    with pytest.raises(InvalidArgument, match=r"0\.weight is \[3, 3\] and \[2, 2\] in the module; .* and 11 more"):
        give(net, wide)
    assert all(tensor is not wide[name] for name, tensor in net.named_parameters())
    with pytest.raises(InvalidArgument, match=r"no place for 9\.weight - strict=False"):
        give(net, {**state, "9.weight": torch.zeros(1)})
    with pytest.raises(InvalidArgument, match=r"it lacks 0\.bias, .* and 3 more"):
        give(net, {name: tensor for name, tensor in state.items() if name.endswith("weight")})
    give(net, {"9.weight": torch.zeros(1)}, strict=False)
    give(net, {"0.bias": torch.zeros(2)}, partial=True)
    with pytest.raises(InvalidArgument, match="no place for"):
        give(net, {"9.weight": torch.zeros(1)}, partial=True)


def test_lazy_modules_take_what_comes():
    """Their shapes are not known before."""
    net = nn.LazyLinear(2)
    give(net, nn.Linear(3, 2).state_dict())
    assert net.weight.shape == (2, 3)


def test_integers_for_a_parameter_are_refused():
    """Nothing can train them; its reason is passed on."""
    net = nn.Linear(2, 2)
    with pytest.raises(InvalidArgument, match=r"does not fit into Linear: .*weight"):
        give(net, {"weight": torch.zeros(2, 2, dtype=torch.int8), "bias": torch.zeros(2)})
