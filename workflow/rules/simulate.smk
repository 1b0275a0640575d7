# The truth is in a folder of its own. No rule before evaluate_truth may read it.
TRUTH = f"resources/{config['compendium']}/truth"

if SIMULATED:

    rule simulate_release:
        output:
            level5=INPUT["level5"],
            level4=INPUT["level4"],
            siginfo=INPUT["siginfo"],
            geneinfo=INPUT["geneinfo"],
            instinfo=INPUT["instinfo"],
            compoundinfo=INPUT["compoundinfo"],
            truth_signatures=f"{TRUTH}/signatures.tsv",
            truth_profiles=f"{TRUTH}/profiles.tsv",
        log:
            f"{LOGS}/simulate_release.log",
        benchmark:
            f"{BENCHMARKS}/simulate_release.tsv"
        conda:
            "../../envs/dvgs.yaml"
        threads: 1
        resources:
            mem_mb=memory(1000 + 0.1 * config["simulation"]["n_signatures"]),
            runtime=minutes(10 + config["simulation"]["n_signatures"] / 1000),
        params:
            simulation=config["simulation"],
            seed=config["seed"],
        script:
            "../../scripts/simulate_release.py"
