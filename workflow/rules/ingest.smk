# The matrix is read block by block. Tables are read whole, so they need memory.
TABLES = [name for name in NEEDED[KIND] if name in ("siginfo", "instinfo", "geneinfo")]


rule ingest:
    input:
        **{
            name: INPUT[name]
            for name in NEEDED[KIND]
            if (KIND, name) != ("level5", "level4")
        },
        # The files of a folder, because its own time does not change when one of them is changed in place.
        files=lambda wildcards: (
            gctx_files(INPUT[KIND]) if Path(INPUT[KIND]).is_dir() else []
        ),
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
        mem_mb=memory(3000, 5, TABLES),
        runtime=foreseen("ingest"),
    params:
        kind=KIND,
        select=config["select"],
        columns=config.get("input", {}).get("columns", {}),
        counts=config.get("input", {}).get("counts", False),
    script:
        "../../scripts/ingest.py"


rule compute_apc:
    input:
        **({"level4": INPUT["level4"]} if KIND == "level5" else {}),
        **(
            {"siginfo": INPUT["siginfo"], "ledger": rules.ingest.output.ledger}
            if KIND == "level4"
            else {}
        ),
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
        mem_mb=memory(2000, 2, ["signatures"]),
        runtime=foreseen("compute_apc"),
    params:
        null_groups=config["apc"]["null_groups"],
        null_within=config["apc"]["null_within"],
        seed=config["seed"],
    script:
        "../../scripts/compute_apc.py"
