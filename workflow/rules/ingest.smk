rule ingest:
    input:
        level5=INPUT["level5"],
        siginfo=INPUT["siginfo"],
        geneinfo=INPUT["geneinfo"],
        genes=(
            []
            if config["select"]["genes"] in ("landmark", "all")
            else config["select"]["genes"]
        ),
    output:
        signatures=f"{RESULTS}/signatures.h5ad",
        ledger=report(
            f"{RESULTS}/ledger.tsv", category="Ingest", caption="../report/ledger.rst"
        ),
    log:
        f"{LOGS}/ingest.log",
    benchmark:
        f"{BENCHMARKS}/ingest.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, 2),
        runtime=minutes(60),
    params:
        select=config["select"],
    script:
        "../../scripts/ingest.py"


rule compute_apc:
    input:
        level4=INPUT["level4"],
        signatures=rules.ingest.output.signatures,
    output:
        apc=f"{RESULTS}/apc.parquet",
        replicate_ledger=report(
            f"{RESULTS}/replicate_ledger.tsv",
            category="Ingest",
            caption="../report/replicate_ledger.rst",
        ),
    log:
        f"{LOGS}/compute_apc.log",
    benchmark:
        f"{BENCHMARKS}/compute_apc.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, 0.1),
        runtime=minutes(120),
    params:
        null_groups=config["apc"]["null_groups"],
        seed=config["seed"],
    script:
        "../../scripts/compute_apc.py"
