"""Free ports, and taking the same ones again."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chassis.embedded.ports import HOST, free_ports, is_free, remember_ports, remembered_ports


def test_free_ports_differ_and_can_be_bound() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    assert all(is_free(port) for port in ports)


def test_remembered_ports_are_taken_again(tmp_path: Path) -> None:
    ports = free_ports(2)
    remember_ports(tmp_path / "ports.json", ports)
    assert remembered_ports(tmp_path / "ports.json", 2) == ports


def test_a_remembered_port_that_is_taken_is_replaced(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        taken = listener.getsockname()[1]
        remember_ports(tmp_path / "ports.json", [taken])
        assert remembered_ports(tmp_path / "ports.json", 1) != [taken]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '["a", "b"]', "nonsense"])
def test_a_damaged_memory_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    ports = remembered_ports(tmp_path / "ports.json", 2)
    assert len(ports) == 2
    assert all(is_free(port) for port in ports)
