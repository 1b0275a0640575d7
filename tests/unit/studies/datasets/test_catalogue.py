import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest

from dvgs.errors import InputError
from dvgs.studies.datasets.catalogue import FILES, READERS, read_public_data

PERSON = (
    "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, ?, "
)


def write_adult(folder):
    women = f"{PERSON.replace('Male', 'Female')}>50K\n"
    (folder / "adult.data").write_text(f"{PERSON}<=50K\n{women * 32560}\n")
    others = f"{PERSON.replace('39', '50')}>50K.\n"
    (folder / "adult.test").write_text(f"|1x3 Cross validator\n{others * 16281}\n")


def write_blog(folder):
    tables = {"blogData_train": [[*range(280), 0], [0.5] * 280 + [12]]}
    tables |= {f"blogData_test-2012.02.01.{k:02}": [[float(k)] * 280 + [k % 3]] for k in reversed(range(60))}
    with zipfile.ZipFile(folder / "BlogFeedback.zip", "w") as archive:
        for name, rows in tables.items():
            archive.writestr(f"{name}.csv", "".join(",".join(map(str, row)) + "\n" for row in rows))


def write_cifar10(folder, **others):
    rng = np.random.default_rng(1)
    batches = {f"data_batch_{k}.bin": images(rng, [k, 9]) for k in (2, 1)} | {"test_batch.bin": images(rng, [4])}
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in (batches | {"batches.meta.txt": b"airplane\n"} | others).items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def images(rng, classes):
    return b"".join(bytes([c]) + rng.integers(0, 256, 3072, np.uint8).tobytes() for c in classes)


WRITERS = {"adult": write_adult, "blog": write_blog, "cifar10": write_cifar10}


def test_adult(tmp_path):
    write_adult(tmp_path)
    data = read_public_data("adult", tmp_path)
    assert data.train[1].tolist() == [0] + [1] * 32560 and set(data.test[1]) == {1}
    # six numbers, and one column for each value: seven categories have one, sex has two
    assert data.train[0].shape == (32561, 6 + 7 + 2) and data.test[0].shape == (16281, 15)
    assert data.train[0][:2, :6].tolist() == [[39, 77516, 13, 2174, 0, 40]] * 2 and data.test[0][0, 0] == 50
    assert (data.train[0][:, 6:].sum(1) == 8).all() and data.train[0].dtype == np.float32


def test_blog(tmp_path):
    write_blog(tmp_path)
    data = read_public_data("blog", tmp_path)
    assert data.train[0].shape == (2, 280) and data.train[1].tolist() == [0, 1]
    assert data.test[0][:, 0].tolist() == [*range(60)]  # days in their order
    assert data.test[1].tolist() == [0, 1, 1] * 20


def test_cifar10(tmp_path):
    write_cifar10(tmp_path)
    data = read_public_data("cifar10", tmp_path)
    assert data.train[0].shape == (4, 3, 32, 32) and data.train[1].tolist() == [1, 9, 2, 9]
    assert data.test[1].tolist() == [4] and data.test[0].min() >= -1 and data.test[0].max() <= 1
    rng = np.random.default_rng(1)
    first = np.frombuffer(images(rng, [2, 9]), np.uint8)[1:3073].reshape(3, 32, 32)
    assert np.allclose((data.train[0][2] + 1) * 127.5, first, atol=1e-4)


@pytest.mark.parametrize("name", FILES)
def test_missing_file(tmp_path, name):
    with pytest.raises(InputError, match=r"studies.directory: no such file; put it there, or leave studies.directory"):
        read_public_data(name, tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_truncated_file(tmp_path, name):
    WRITERS[name](tmp_path)
    path = tmp_path / list(FILES[name])[-1]
    content = path.read_bytes()
    for size in (0, len(content) // 2, len(content) - 8):
        path.write_bytes(content[:size])
        with pytest.raises(InputError) as error:
            read_public_data(name, tmp_path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_another_file_than_the_official_is_said(tmp_path, name, caplog):
    WRITERS[name](tmp_path)
    read_public_data(name, tmp_path)
    for file, official in FILES[name].items():
        assert f"{file} is not the official file, whose sha256 is {official['sha256']}" in caplog.text


def test_adult_cut_at_the_end_of_a_line(tmp_path):
    write_adult(tmp_path)
    path = tmp_path / "adult.data"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:20000]))
    with pytest.raises(InputError, match=r"adult\.data: rows: 20000 instead of 32561, the file may be cut"):
        read_public_data("adult", tmp_path)


def test_damaged_zip(tmp_path, rng):
    WRITERS["blog"](tmp_path)
    path = tmp_path / "BlogFeedback.zip"
    content = path.read_bytes()
    for position in rng.integers(40, len(content) // 2, 20):
        path.write_bytes(content[:position] + bytes(rng.integers(0, 256, 30, np.uint8)) + content[position + 30 :])
        with pytest.raises(InputError, match=r"BlogFeedback\.zip"):
            read_public_data("blog", tmp_path)


@pytest.mark.parametrize("label, age", [("50K", "39"), ("<=50K", "old"), ("<=50K", "inf"), ("<=50K, 1", "39")])
def test_adult_in_another_form(tmp_path, label, age):
    write_adult(tmp_path)
    (tmp_path / "adult.data").write_text(PERSON.replace("39", age) + label)
    with pytest.raises(InputError, match=r"adult\.data"):
        read_public_data("adult", tmp_path)


def test_blog_without_all_of_its_tests(tmp_path):
    with zipfile.ZipFile(tmp_path / "BlogFeedback.zip", "w") as archive:
        archive.writestr("blogData_train.csv", "1,2,3\n")
        archive.writestr("blogData_test-2012.02.01.00_00.csv", "1,2,3\n")
    with pytest.raises(InputError, match=r"1 files blogData_test-.*, not 60"):
        read_public_data("blog", tmp_path)


def test_blog_with_other_columns(tmp_path):
    with zipfile.ZipFile(tmp_path / "BlogFeedback.zip", "w") as archive:
        archive.writestr("blogData_train.csv", "1,2,3\n")
        for k in range(60):
            archive.writestr(f"blogData_test-2012.02.{k:02}.csv", "1,2,3\n")
    with pytest.raises(InputError, match="not 281 numbers"):
        read_public_data("blog", tmp_path)


@pytest.mark.parametrize("content", [b"\x0b" + bytes(3072), bytes(3072), b""], ids=["class 11", "cut", "empty"])
def test_cifar10_with_other_records(tmp_path, content):
    write_cifar10(tmp_path, **{"data_batch_3.bin": content})
    with pytest.raises(InputError, match=r"data_batch_3\.bin"):
        read_public_data("cifar10", tmp_path)


def test_cifar10_without_a_batch(tmp_path, rng):
    write_cifar10(tmp_path, **{"data_batch_4.bin": images(rng, [1])})
    with pytest.raises(InputError, match=r"it lacks data_batch_3\.bin"):
        read_public_data("cifar10", tmp_path)


def test_pickled_cifar10_is_not_read(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("cifar-10-batches-py/data_batch_1"))
    with pytest.raises(InputError, match="binary version"):
        read_public_data("cifar10", tmp_path)


def test_not_an_archive(tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(InputError, match="cifar-10-binary"):
        read_public_data("cifar10", tmp_path)


@pytest.mark.parametrize(
    "name, shape, n_test, positive",
    [("adult", (32561, 108), 16281, 7841), ("blog", (52397, 280), 7624, None), ("cifar10", (3, 32, 32), None, None)],
)
def test_official_files(real_data, name, shape, n_test, positive, caplog):
    folder = real_data / name
    if not folder.is_dir():
        pytest.skip(f"no {name} in {real_data}")
    data = read_public_data(name, folder)
    x, y = data.train
    assert x.shape[-len(shape) :] == shape and np.isfinite(x).all() and len(x) == len(y)
    assert (name == "cifar10") == ("is not the official file" in caplog.text)
    assert n_test in (None, len(data.test[0])) and positive in (None, int(y.sum()))
    assert set(np.unique(y)) == set(np.unique(data.test[1])) == set(range(10 if name == "cifar10" else 2))


def test_every_data_set_has_its_files():
    assert READERS.keys() == FILES.keys()
    for files in FILES.values():
        for source in files.values():
            assert source["url"].startswith("https://") and source["size"] > 0 and len(source["sha256"]) == 64
