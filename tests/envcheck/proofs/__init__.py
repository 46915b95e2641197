"""Every proof of every family; the coverage page is generated from a run over this table."""

from tests.envcheck.proofs import determinism, driver, libraries

PROOFS = [*driver.PROOFS, *libraries.PROOFS, *determinism.PROOFS]
