"""Synapses without delay in C++ standalone: the statements of Brian 2, in loops that compilers make vectors of."""

from __future__ import annotations

import re

from brian2.devices.cpp_standalone.codeobject import CPPStandaloneCodeObject

_SET = re.compile(r"(const )?(?:\w+ )?(\w+)(?:\[.*\])? \S*= .*;$")


def parted(lines: list[str], pre: str, post: str) -> tuple[str, str]:
    """Statements of a synapse: those that are the same for all synapses of a spike, and the rest.

    Parameters
    ----------
    lines : list of str
        C++ as Brian 2 generates it: what is read, as constants, before what is computed and written.
    pre, post : str
        Names of the arrays with the ends of every synapse.

    Returns
    -------
    tuple of str
        In both, ends are written as places in the row of a spike.
    """
    lines = [line.replace(f"{post}[_idx]", "_run.target + _k") for line in lines]
    lines = [line.replace(f"{pre}[_idx]", "_spikes[_spike]") for line in lines]
    sets = [_SET.match(line) for line in lines]
    changing = {"_idx", "_vectorisation_idx", "_run"} | {s[2] for s in sets if s and not s[1]}
    once, each = [], []
    for line, found in zip(lines, sets, strict=True):
        if found and found[1] and not changing & set(re.findall(r"\w+", line)):
            once.append(line)
        else:
            each.append(line)
            changing |= {found[2]} if found else set()
    return "\n".join(once), "\n".join(each)


class RowsCodeObject(CPPStandaloneCodeObject):
    """Code of a pathway whose spikes arrive in the step in which they leave.

    Brian 2 copies the number of every synapse that a spike reaches to a queue, and from there to a list. Here the rows
    of spiking neurons are gone through as they lie in memory; order and statements are the same, so are all results.
    """

    templater = CPPStandaloneCodeObject.templater.derive(__package__, env_globals={"parted": parted})


def deliver_at_once(pathway) -> None:
    """Let a pathway without delays do without a queue.

    Parameters
    ----------
    pathway : brian2.synapses.synapses.SynapticPathway
        Of a whole group; C++ standalone is the active device.
    """
    pathway.codeobj_class = RowsCodeObject
