"""Commands as a user types them."""

import pytest

from brian2grad.training.cli.main import main


def call(capsys, *arguments):
    """Exit code, output and error text of a command."""
    with pytest.raises(SystemExit) as status:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status.value.code, captured.out, captured.err
