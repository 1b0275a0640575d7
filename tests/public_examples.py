"""Made-up files in the official layout of ADULT and BLOG, as large as needed, with classes that can be learnt."""

import zipfile

import numpy as np

PEOPLE = "{}, Private, {}, {}, 9, Divorced, Sales, Husband, White, {}, 0, 0, {}, ?, {}"


def write_adult(folder, rng):
    """People who earn more when they are old and went to school for long; as many as there are officially."""
    folder.mkdir(parents=True)
    for name, n, dot in (("adult.data", 32561, ""), ("adult.test", 16281, ".")):
        rich = rng.random(n) < 0.4
        numbers = np.column_stack([30 + 25 * rich, 40 + 10 * rich]) + rng.integers(0, 8, (n, 2))
        schools = np.where(rng.random(n) < 0.9, np.where(rich, "Masters", "10th"), "HS-grad")
        lines = [
            PEOPLE.format(age, 1000 + i, school, "Male" if i % 2 else "Female", hours, (">50K" if r else "<=50K") + dot)
            for i, ((age, hours), school, r) in enumerate(zip(numbers, schools, rich, strict=True))
        ]
        head = ["|1x3 Cross validator"] if dot else []
        (folder / name).write_text("\n".join([*head, *lines, "", ""]))


def write_blog(folder, rng):
    """Posts with 280 numbers, of which the first twenty are larger where there are comments."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "BlogFeedback.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        days = [f"blogData_test-2012.02.{k:02}.00_00" for k in range(60)]
        for name, n in [("blogData_train", 1500), *zip(days, [50] * 60, strict=True)]:
            comments = rng.poisson(0.5, n)
            numbers = rng.exponential(size=(n, 280))
            numbers[:, :20] += (comments > 0)[:, None]
            rows = np.column_stack([numbers.round(3), comments])
            archive.writestr(f"{name}.csv", "".join(",".join(map(str, row)) + "\n" for row in rows.tolist()))
