rule clean:
    input:
        signatures=rules.ingest.output.signatures,
        apc=rules.compute_apc.output.apc,
        scaling=rules.draw_split.output.scaling,
        values=rules.gather_values.output.values,
        calibration=rules.gather_values.output.calibration,
        curves=rules.gather_curves.output.curves,
    output:
        gctx=f"{RESULTS}/{{target}}/cleaned.gctx",
        latent=temp(f"{RESULTS}/{{target}}/latent.h5ad"),
        dropped=f"{RESULTS}/{{target}}/dropped.tsv",
        autoencoder=f"{RESULTS}/{{target}}/autoencoder.pt",
        decision=f"{RESULTS}/{{target}}/cleaning.json",
    log:
        f"{LOGS}/clean-{{target}}.log",
    benchmark:
        f"{BENCHMARKS}/clean-{{target}}.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: config["threads"]
    resources:
        mem_mb=memory(3000, 1.5),
        runtime=foreseen("clean"),
    params:
        similarity=config["score"]["similarity"],
        cutoff=CUTOFF,
        training={
            k: config["curves"][k] for k in ("epochs", "batch_size", "learning_rate")
        },
        model=config["model"],
        device=config["device"],
        seed=config["seed"],
    script:
        "../../scripts/clean.py"


if KIND == "level4":

    rule collapse:
        input:
            signatures=rules.ingest.output.signatures,
            cleaned=rules.clean.output.latent,
        output:
            gctx=f"{RESULTS}/{{target}}/cleaned_level5.gctx",
            ledger=f"{RESULTS}/{{target}}/cleaned_level5_ledger.tsv",
        log:
            f"{LOGS}/collapse-{{target}}.log",
        benchmark:
            f"{BENCHMARKS}/collapse-{{target}}.tsv"
        conda:
            "../../envs/dvgs.yaml"
        threads: 1
        resources:
            mem_mb=memory(3000, 0.5),
            runtime=foreseen("ingest"),
        script:
            "../../scripts/collapse.py"


# All targets in one job: it needs no GPU, and much of its time is the compilation of UMAP.
rule embed:
    input:
        latents=expand(rules.clean.output.latent, target=TARGETS),
    output:
        cleaned=expand(f"{RESULTS}/{{target}}/cleaned.h5ad", target=TARGETS),
    log:
        f"{LOGS}/embed.log",
    benchmark:
        f"{BENCHMARKS}/embed.tsv"
    conda:
        "../../envs/dvgs.yaml"
    threads: 1
    resources:
        mem_mb=memory(2500, 0.5),
        runtime=foreseen("embed"),
    params:
        targets=TARGETS,
        seed=config["seed"],
    script:
        "../../scripts/embed.py"
