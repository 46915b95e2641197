"""Every proof of every family; the coverage page is generated from a run over this table."""

from tests.envcheck.proofs import determinism, driver, driver_visibility, gpu, job, libraries, libraries_loaded

PROOFS = [
    *driver.PROOFS,
    *driver_visibility.PROOFS,
    *gpu.PROOFS,
    *libraries.PROOFS,
    *libraries_loaded.PROOFS,
    *determinism.PROOFS,
    *job.PROOFS,
]
