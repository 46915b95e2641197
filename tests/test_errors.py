import pytest

from launcher import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.JobFailed, 1), (errors.RequestError, 2), (errors.EnvironmentUnfit, 3), (errors.Interrupted, 130)],
)
def test_every_error_family_has_its_exit_code(error: type[errors.LauncherError], code: int) -> None:
    assert error("what happened", hint="what to type").exit_code == code
