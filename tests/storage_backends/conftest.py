"""The contract ships with the package; its assertions are shown like those of a test file."""

import pytest

pytest.register_assert_rewrite("storage_backends.contract")
