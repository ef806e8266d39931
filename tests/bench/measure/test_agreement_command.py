"""``agreement`` prints the errors, and a run checks them under autocast."""

from lossbench.bench.cli import main
from lossbench.bench.run.reading import read_records


def test_the_command_prints_every_precision_and_the_drift(capsys):
    sizes = ["--batch", "8", "--dim", "4", "--classes", "3", "--device", "cpu"]
    assert main(["agreement", "triplet_batch_hard", "--variant", "torch", "--all", *sizes]) == 0
    out = capsys.readouterr().out
    for word in ("float32", "float64", "float16", "autocast", "drift", "grad.embeddings"):
        assert word in out
    # The variant takes only float32, which is what autocast gives it.
    assert "torch, bfloat16: unsupported" in out
    assert "torch, bfloat16 autocast" not in out


def test_the_command_names_the_variants_that_there_are(capsys):
    assert main(["agreement", "island", "--variant", "otl"]) == 2
    errors = capsys.readouterr().err
    assert "no variant 'otl' of island; there are: reference, " in errors


def test_a_run_under_autocast_times_what_takes_no_half_precision(tmp_path):
    torch_variant = ["--loss", "triplet_batch_hard", "--variant", "torch", "--budget", "0.01"]
    sizes = ["--batch", "8", "--dim", "4", "--classes", "3", "--dtype", "float16"]
    arguments = ["run", "--autocast", *torch_variant, *sizes, "--device", "cpu", "--processes", "1"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    records = {record.variant: record for record in read_records(tmp_path)}
    assert {variant: record.status for variant, record in records.items()} == {
        "reference": "passed",
        "torch": "passed",
    }
    assert all(record.case.autocast for record in records.values())
    assert records["torch"].step.median_seconds > 0
