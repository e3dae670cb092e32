"""What every backend must pass, as a pytest class.

Subclass it as `Test...` and give it a fixture `open_store`: a function without arguments that opens the same store each
time it is called, empty at the start of a test. Rows are compared with rows made here, never with rows that were
written and read back, so an error of a backend cannot hide itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage_backends.contract.keys import Keys
from storage_backends.contract.listing import Listing
from storage_backends.contract.model import model_test
from storage_backends.contract.ranges import Ranges
from storage_backends.contract.refusals import Refusals
from storage_backends.contract.values import Values
from storage_backends.interface import Backend

if TYPE_CHECKING:
    from collections.abc import Callable


class BackendContract(Values, Keys, Ranges, Listing, Refusals):
    """The contract. `backend` is the store opened once; `open_store` opens it again."""

    @pytest.fixture
    def backend(self, open_store: Callable[[], Backend]) -> Backend:
        return open_store()

    test_agrees_with_a_model = model_test(60)
