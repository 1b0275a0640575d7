"""Join the replicates of a study: detection, curves with bands, seconds."""

import pandas as pd

from dvgs.evaluation.detection import DETECTION_MEASURES, detect_corrupted
from dvgs.io.files import write_csv
from dvgs.plotting import write_svg
from dvgs.progress import logger
from dvgs.studies.figures import study_figure
from dvgs.studies.summaries import AREAS, areas, compare_with_dvgs, over_replicates
from dvgs.workflow.job import job


def main(input, output, name, methods, n_replicates):
    runs = [(method, replicate) for method in methods for replicate in range(n_replicates)]
    detection, seconds = [], []
    for (method, replicate), values, timing in zip(runs, input.values, input.seconds, strict=True):
        run = {"method": method, "replicate": replicate}
        table = pd.read_parquet(values)
        columns = (table[column].to_numpy() for column in ("value", "corrupted", "noise_sd"))
        detection.append(run | detect_corrupted(*columns))
        seconds.append(run | pd.read_csv(timing).iloc[0].to_dict())
    curves = pd.concat([pd.read_csv(path) for path in input.curves], ignore_index=True)
    detection = pd.DataFrame(detection).merge(areas(curves), how="left", on=["method", "replicate"])
    measures = [*DETECTION_MEASURES, *AREAS]
    summary = over_replicates(detection, ["method"], measures)
    points = ["with_target", "drop", "quantile"]
    bands = over_replicates(curves, ["method", *points], ["score"]).drop(columns="measure")
    without_variants = curves[~curves["method"].str.startswith("dvgs_")]
    write_csv(output.detection, detection)
    write_csv(output.summary, summary)
    write_csv(output.comparisons, compare_with_dvgs(detection, measures))
    write_csv(output.seconds, pd.DataFrame(seconds))
    write_csv(output.curves, curves)
    write_csv(output.bands, bands)
    write_csv(output.curve_comparisons, compare_with_dvgs(without_variants, ["score"], points).drop(columns="measure"))
    write_svg(output.picture, study_figure(bands, name))
    for row in summary[summary["measure"] == "auroc"].itertuples():
        logger.info("%s: AUROC %.3f (%d replicates, sd %.3f)", row.method, row.mean, row.n, row.sd)


if __name__ == "__main__":
    with job(snakemake):
        main(snakemake.input, snakemake.output, snakemake.wildcards.study, **snakemake.params)
