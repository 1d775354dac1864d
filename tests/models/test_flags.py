"""Flags of the compiler on machines that are not here."""

from pathlib import Path

import pytest

from brian2grad.models import EngineError
from brian2grad.models.native.flags import brian2_flags, compiler_flags, is_clang, machine_flags

HOMEBREW = Path("/opt/homebrew/opt/libomp")


def test_gcc_on_linux():
    flags = compiler_flags("float64", "Linux", "x86_64", clang=False)
    assert {"-march=native", "-fopenmp", "-ffp-contract=off", "-shared"} <= set(flags)
    assert "-ffp-contract=off" not in compiler_flags("float32", "Linux", "x86_64", clang=False)
    assert "-march=native" in compiler_flags("float64", "Linux", "aarch64", clang=False)


def test_clang_on_linux_has_its_own_openmp():
    flags = compiler_flags("float64", "Linux", "x86_64", clang=True)
    assert "-fopenmp" in flags
    assert "-Xpreprocessor" not in flags


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_clang_on_arm_knows_no_march_native(system):
    flags = machine_flags(system, "arm64", clang=True)
    assert not [flag for flag in flags if flag.startswith("-march")]
    assert [flag for flag in flags if flag.startswith("-mcpu=")]


def test_apples_clang_takes_openmp_from_a_folder():
    flags = compiler_flags("float64", "Darwin", "arm64", clang=True, openmp=HOMEBREW)
    assert flags[flags.index("-Xpreprocessor") + 1] == "-fopenmp"
    assert {f"-I{HOMEBREW}/include", f"-L{HOMEBREW}/lib", "-lomp"} <= set(flags)
    assert "-march=native" in compiler_flags("float64", "Darwin", "x86_64", clang=True, openmp=HOMEBREW)
    with pytest.raises(EngineError, match="brew install libomp"):
        compiler_flags("float64", "Darwin", "arm64", clang=True)


def test_gcc_of_homebrew_needs_nothing():
    assert "-fopenmp" in compiler_flags("float64", "Darwin", "x86_64", clang=False)


def test_windows_is_refused_with_a_way_out():
    with pytest.raises(EngineError, match="WSL"):
        compiler_flags("float64", "Windows", "AMD64", clang=False)


def test_apples_gcc_is_clang():
    assert is_clang("Apple clang version 15.0.0 (clang-1500.3.9.4)")
    assert not is_clang("g++ (Debian 12.2.0-14) 12.2.0")
    assert "-ffast-math" not in brian2_flags("g++ (Debian 12.2.0-14) 12.2.0")
