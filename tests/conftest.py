"""What must be said before any test module is imported."""

import pytest

# The contract ships with the package; its assertions are shown like those of a test file.
pytest.register_assert_rewrite("storage_backends.contract")
