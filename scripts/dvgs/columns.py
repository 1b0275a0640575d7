"""The columns of the tables that several wings read or write."""

SIMILARITIES = ("cosine", "dot", "projection", "l2")  # a higher value is better in all of them
MEASURES = (*SIMILARITIES, "gradient_norm", "loss")
VALUE_COLUMNS = ("cosine", "cosine_se", *MEASURES[1:])
EARLY = {"cosine_eighth": 8, "cosine_quarter": 4, "cosine_half": 2}  # means over the first 1/8, 1/4, 1/2 of the steps
APC_COLUMNS = ["apc", "n_replicates", "spearman_q75", "apc_null_p", "apc_fdr", "apc_reason"]
