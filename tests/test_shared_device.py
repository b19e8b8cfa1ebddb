"""Which device and number format is chosen, on machines that this one need not be."""

import pytest

from shared.device import Device, autocast, choose, keep_freed_memory
from shared.errors import CourseError


@pytest.fixture
def machine(monkeypatch):
    """Makes torch report a machine: machine(gpu=("Tesla T4", (7, 5))), machine(mps=True), machine()."""
    torch = pytest.importorskip("torch")

    def pretend(gpu=None, mps=False):
        name, capability = gpu or (None, None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: name)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("name", "capability", "dtype", "reason"),
    [
        ("NVIDIA H100", (9, 0), "bfloat16", "NVIDIA H100 multiplies bf16 in hardware"),
        ("NVIDIA A100", (8, 0), "bfloat16", "NVIDIA A100 multiplies bf16 in hardware"),
        ("Tesla T4", (7, 5), "float16", "Tesla T4 has no bf16 units: fp16 with loss scaling"),
    ],
)
def test_gpu(machine, wanted, name, capability, dtype, reason):
    machine(gpu=(name, capability), mps=True)
    assert choose(wanted) == Device("cuda", dtype, reason)


@pytest.mark.parametrize("wanted", ["auto", "mps"])
def test_apple(machine, wanted):
    machine(mps=True)
    assert choose(wanted) == Device("mps", "float32", "Apple GPU")


def test_neither(machine):
    machine()
    assert choose() == Device("cpu", "float32", "no GPU found")


def test_cpu_wanted_where_there_is_a_gpu(machine):
    machine(gpu=("Tesla T4", (7, 5)), mps=True)
    assert choose("cpu") == Device("cpu", "float32", "asked for")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("cuda", "no CUDA GPU that torch can use: leave --device at auto, or look at `./course doctor`."),
        ("mps", "no Apple GPU here: leave --device at auto, or look at `./course doctor`."),
        ("gpu", "unknown device 'gpu': choose auto, cpu, cuda or mps."),
        ("CUDA", "unknown device 'CUDA': choose auto, cpu, cuda or mps."),
        ("", "unknown device '': choose auto, cpu, cuda or mps."),
    ],
)
def test_wanted_but_not_there(machine, wanted, message):
    machine()
    with pytest.raises(CourseError) as caught:
        choose(wanted)
    assert str(caught.value) == message


def test_it_is_printed_with_its_reason():
    assert str(Device("cpu", "float32", "no GPU found")) == "cpu, float32 (no GPU found)"


def test_this_machines_own_device_computes(device):
    torch = pytest.importorskip("torch")
    chosen = choose(device)
    assert chosen.name == device
    with autocast(chosen):
        product = torch.ones(4, 4, device=chosen.name) @ torch.ones(4, 4, device=chosen.name)
    assert product.sum().item() == 64
    assert product.dtype == getattr(torch, chosen.dtype)


def test_freed_memory_is_used_again_without_a_page_fault():
    torch, resource = pytest.importorskip("torch"), pytest.importorskip("resource")
    if not keep_freed_memory():
        pytest.skip("only glibc's malloc can be told")

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        [torch.ones(2**22) for _ in range(8)]  # 8 times 16 MiB, together 32,768 pages of 4 KiB; then all are freed
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert min(faults() for _ in range(8)) < 1_000  # once the heap is large enough
