"""Say whether an implementation is proven on the torch that runs."""

from lossbench import impls
from lossbench.bench.compat.table import CompatColumn, known_table
from lossbench.impls.torch_release import release_of, release_text, running_release


def doubt_of(implementation: impls.Implementation, device: str, measured_on: str) -> str:
    """Return why an implementation must not be chosen for the torch that runs, or an empty text.

    It is proven by the table's column of this release. Without one, it is proven by its records, if
    they are of this release, since each was compared with the reference; and an eager one by the
    columns of the other releases, if it is right in all that support it.

    Args:
        implementation: implementation to choose.
        device: device type to compute on.
        measured_on: version of torch of its records.
    """
    outdated = implementation.outdated()
    if outdated:
        return outdated
    here, loss, variant = running_release(), implementation.loss.name, implementation.variant
    columns = known_table().of_device(device)
    proofs = {column.release: column.proof_of(loss, variant) for column in columns}
    proof = proofs.get(here)
    if proof and proof.standing == "wrong":
        return f"wrong on torch {release_text(here)}: {proof.reason}"
    if proof and proof.standing == "right":
        return ""
    if release_of(measured_on) == here:
        return ""
    if not implementation.compiled and right_where_it_runs(columns, loss, variant):
        return ""
    on = "" if device == "cpu" else f" --device {device}"
    return f"not proven on torch {release_text(here)}; `lossbench compat {loss}{on}` proves it"


def right_where_it_runs(columns: tuple[CompatColumn, ...], loss: str, variant: str) -> bool:
    """Return whether a variant is right in the columns, apart from those that do not support it."""
    proofs = [column.proof_of(loss, variant) for column in columns]
    standings = {proof.standing if proof else "untried" for proof in proofs}
    return "right" in standings and standings <= {"right", "unsupported"}
