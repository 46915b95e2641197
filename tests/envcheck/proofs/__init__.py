"""Every proof of every family; the coverage page is generated from a run over this table."""

from tests.envcheck.proofs import (
    cluster,
    collective,
    container,
    container_resources,
    determinism,
    driver,
    driver_visibility,
    gpu,
    job,
    libraries,
    libraries_loaded,
    network,
    storage,
    variables,
)

FAMILIES = (
    driver,
    driver_visibility,
    gpu,
    libraries,
    libraries_loaded,
    container,
    container_resources,
    network,
    storage,
    variables,
    determinism,
    job,
    collective,
    cluster,
)
PROOFS = [proof for family in FAMILIES for proof in family.PROOFS]
