"""Datasets: embedded, generated, and names that none has."""

import socket

import numpy as np
import pytest
import sklearn.datasets

from mofn_jax import data
from mofn_jax.data import load_dataset


def check_dataset(dataset, name, input_shape, num_classes):
    assert dataset.name == name
    assert dataset.num_classes == num_classes
    for split in (dataset.train, dataset.test):
        assert split.inputs.shape == (len(split.labels), *input_shape)
        assert split.inputs.dtype == np.float32
        assert split.labels.dtype == np.int32
        assert set(np.unique(split.labels)) == set(range(num_classes))


def rows_of(inputs):
    return sorted(row.tobytes() for row in inputs)


# Embedded


@pytest.mark.parametrize(
    ("name", "input_shape", "num_classes"),
    [("digits", (8, 8, 1), 10), ("breast_cancer", (30,), 2), ("wine", (13,), 3)],
)
def test_embedded_datasets_are_split_by_class(name, input_shape, num_classes):
    dataset = load_dataset(name)
    check_dataset(dataset, name, input_shape, num_classes)
    raw = getattr(sklearn.datasets, f"load_{name}")()
    np.testing.assert_allclose(
        np.bincount(dataset.test.labels), 0.2 * np.bincount(raw.target), atol=1
    )
    assert len(dataset.train.labels) + len(dataset.test.labels) == len(raw.target)
    assert len(dataset.test.labels) == np.ceil(0.2 * len(raw.target))


def test_digits_keeps_every_image_in_the_unit_interval():
    dataset = load_dataset("digits")
    inputs = np.concatenate([dataset.train.inputs, dataset.test.inputs])
    images = sklearn.datasets.load_digits().images.astype(np.float32) / 16
    assert rows_of(inputs) == rows_of(images)
    assert (inputs.min(), inputs.max()) == (0, 1)


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_embedded_tables_are_standardised_by_their_training_split(name):
    dataset = load_dataset(name)
    np.testing.assert_allclose(dataset.train.inputs.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(dataset.train.inputs.std(axis=0), 1, rtol=1e-5)
    # Both splits went through one affine map: together they are the raw column, moved and scaled.
    scaled = np.sort(np.concatenate([dataset.train.inputs, dataset.test.inputs]), axis=0)
    raw = np.sort(getattr(sklearn.datasets, f"load_{name}")().data, axis=0)
    for scaled_column, raw_column in zip(scaled.T, raw.T, strict=True):
        assert np.corrcoef(scaled_column, raw_column)[0, 1] == pytest.approx(1, abs=1e-6)


def test_a_constant_training_column_stays_finite():
    split = data.Split(np.array([[2.0, 1], [2.0, 3]]), np.array([0, 1]))
    other = split._replace(inputs=np.array([[5.0, 2]]))
    (train, test), scaling = data._standardise(split, other)
    np.testing.assert_array_equal(scaling, [[2, 1], [2, 1]])
    np.testing.assert_array_equal(train.inputs, [[0, -1], [0, 1]])
    np.testing.assert_array_equal(test.inputs, [[3, 0]])


def test_car_is_the_decision_model():
    dataset = load_dataset("car")
    inputs, labels = (
        np.concatenate(some) for some in zip(dataset.train, dataset.test, strict=True)
    )
    check_dataset(dataset, "car", (21,), 4)
    assert len(dataset.train.labels) == 1382
    assert dataset.class_names == ("unacc", "acc", "good", "vgood")
    np.testing.assert_array_equal(np.bincount(labels), [1210, 384, 69, 65])
    assert len(np.unique(inputs, axis=0)) == 1728
    assert set(np.unique(inputs)) == {0, 1}
    assert (np.add.reduceat(inputs, [0, 4, 8, 12, 15, 18], axis=1) == 1).all()
    names = dict(zip(dataset.feature_names, inputs.T.astype(bool), strict=True))

    def classes(*values):
        has = np.all([names[value] for value in values], axis=0)
        return {dataset.class_names[label] for label in labels[has]}

    # What the data of 1988 say, as everyone knows them.
    assert classes("safety=low") == classes("persons=2") == {"unacc"}
    assert classes("buying=vhigh", "maint=high") == {"unacc"}
    best = ("buying=low", "maint=low", "doors=4", "persons=more", "lug_boot=big")
    assert classes(*best, "safety=high") == {"vgood"}
    assert classes(*best, "safety=med") == {"good"}
    small = ("buying=low", "maint=low", "doors=2", "lug_boot=small", "safety=high")
    assert classes(*small, "persons=more") == {"unacc"}
    assert classes(*small, "persons=4") == {"good"}


def test_ecoli_has_its_rows_and_names():
    dataset = load_dataset("ecoli")
    assert (dataset.num_classes, dataset.train.inputs.shape) == (8, (268, 7))
    counts = np.bincount(dataset.train.labels) + np.bincount(dataset.test.labels, minlength=8)
    by_name = dict(zip(dataset.class_names, counts.tolist(), strict=True))
    assert by_name == {
        **{"cp": 143, "im": 77, "pp": 52, "imU": 35},
        **{"om": 20, "omL": 5, "imS": 2, "imL": 2},
    }
    assert dataset.feature_names == ("mcg", "gvh", "lip", "chg", "aac", "alm1", "alm2")
    np.testing.assert_allclose(dataset.train.inputs.mean(axis=0), 0, atol=1e-5)


def test_promoters_have_their_letters():
    dataset = load_dataset("promoters")
    check_dataset(dataset, "promoters", (228,), 2)
    inputs = np.concatenate([dataset.train.inputs, dataset.test.inputs])
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    np.testing.assert_array_equal(np.bincount(labels), [53, 53])
    assert set(np.unique(inputs)) == {0, 1}
    assert (inputs.reshape(106, 57, 4).sum(-1) == 1).all()
    names = dataset.feature_names
    assert (names[0], names[199], names[200], names[-1]) == ("p-50=a", "p-1=t", "p+1=a", "p+7=t")
    # The box at -35: most promoters have a "t" there, of others about a fourth.
    share = [inputs[labels == label, names.index("p-36=t")].mean() for label in (0, 1)]
    assert share[0] < 0.4 < 0.6 < share[1]


def test_names_of_what_scikit_learn_embeds():
    assert load_dataset("wine").feature_names[0] == "alcohol"
    assert load_dataset("breast_cancer").class_names == ("malignant", "benign")
    digits = load_dataset("digits")
    assert digits.class_names == tuple("0123456789")
    assert digits.feature_names is None


def test_olivetti_without_a_network(monkeypatch, tmp_path):
    def refuse(*_args, **_kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(FileNotFoundError) as refused:
        load_dataset("olivetti", data_dir=tmp_path)
    message = str(refused.value)
    assert f"'olivetti' is not prepared: nothing in {tmp_path}, and no answer from" in message
    assert f'fetch_olivetti_faces(data_home="{tmp_path}")' in message
    assert f"prepare_olivetti --images=FOLDER --data_dir={tmp_path}" in message
    assert list(tmp_path.iterdir()) == []


def test_the_seed_chooses_the_split():
    first, again, other = (load_dataset("digits", seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)
    np.testing.assert_array_equal(first.test.labels, again.test.labels)
    assert (first.train.labels != other.train.labels).any()


# Generated

MONKS = {
    "monks-1": (lambda a: a[0] == a[1] or a[4] == 1, 216),
    "monks-2": (lambda a: a.count(1) == 2, 142),
    "monks-3": (lambda a: (a[4] == 3 and a[3] == 1) or (a[4] != 4 and a[1] != 3), 228),
}


def check_whole_table(dataset):
    """Train and test are the same complete table of distinct 0/1 rows."""
    np.testing.assert_array_equal(dataset.train.inputs, dataset.test.inputs)
    assert set(np.unique(dataset.train.inputs)) == {0, 1}
    assert len(np.unique(dataset.train.inputs, axis=0)) == len(dataset.train.inputs)


@pytest.mark.parametrize("name", MONKS)
def test_monks_follow_their_definitions(name):
    dataset = load_dataset(name)
    check_dataset(dataset, name, (17,), 2)
    check_whole_table(dataset)
    np.testing.assert_array_equal(dataset.train.labels, dataset.test.labels)
    is_positive, num_positive = MONKS[name]
    assert len(dataset.train.labels) == 432
    assert dataset.train.labels.sum() == num_positive
    assert dataset.feature_names[:4] == ("a1=1", "a1=2", "a1=3", "a2=1")
    for row, label in zip(dataset.train.inputs, dataset.train.labels, strict=True):
        groups = np.split(row, np.cumsum([3, 3, 2, 3, 4]))
        assert [group.sum() for group in groups] == [1] * 6
        assert is_positive([int(group.argmax()) + 1 for group in groups]) == label


def test_noisy_monks_flip_a_twentieth_of_the_training_labels_only():
    clean = load_dataset("monks-3")
    noisy, again, other = (load_dataset("monks-3-noisy", seed=seed) for seed in (0, 0, 1))
    check_dataset(noisy, "monks-3-noisy", (17,), 2)
    check_whole_table(noisy)
    np.testing.assert_array_equal(noisy.train.inputs, clean.train.inputs)
    np.testing.assert_array_equal(noisy.test.labels, clean.test.labels)
    for dataset in (noisy, other):
        assert (dataset.train.labels != clean.train.labels).sum() == 22  # 5% of 432, rounded
    np.testing.assert_array_equal(noisy.train.labels, again.train.labels)
    assert (noisy.train.labels != other.train.labels).any()


def test_mofn_3_7_10_counts_the_first_seven_bits():
    dataset = load_dataset("mofn-3-7-10")
    check_dataset(dataset, "mofn-3-7-10", (10,), 2)
    check_whole_table(dataset)
    assert len(dataset.train.labels) == 1024
    for row, label in zip(dataset.train.inputs.tolist(), dataset.train.labels, strict=True):
        assert (sum(row[:7]) >= 3) == label


@pytest.mark.parametrize(("needed", "num_bits"), [(1, 1), (1, 2), (3, 5), (8, 8), (16, 16)])
def test_k_of_n_tables(needed, num_bits):
    dataset = load_dataset(f"{needed}-of-{num_bits}")
    check_dataset(dataset, f"{needed}-of-{num_bits}", (num_bits,), 2)
    check_whole_table(dataset)
    assert len(dataset.train.labels) == 2**num_bits
    np.testing.assert_array_equal(
        dataset.train.labels, [sum(row) >= needed for row in dataset.train.inputs.tolist()]
    )


@pytest.mark.parametrize("name", ["0-of-5", "6-of-5", "3-of-17", "0-of-0"])
def test_impossible_k_of_n_are_refused(name):
    with pytest.raises(ValueError, match=rf"name: expected K-of-N with 1 <= K <= N <= 16.*{name}"):
        load_dataset(name)


# Names


@pytest.mark.parametrize(
    "name", ["monks-4", "no_such_dataset", "huggingface:mnist", "mnist/a=1", "../mnist", "", "3-of"]
)
def test_unknown_names_are_refused_and_the_known_listed(name, tmp_path):
    with pytest.raises(ValueError, match="name: unknown dataset") as refused:
        load_dataset(name, data_dir=tmp_path)
    message = str(refused.value)
    assert repr(name) in message
    embedded = ("digits", "breast_cancer", "wine", "car", "ecoli", "promoters")
    for known in (*embedded, "olivetti", *MONKS, "monks-3-noisy", "mofn-3-7-10"):
        assert known in message
    assert "K-of-N" in message
    assert "TensorFlow Datasets" in message


@pytest.mark.parametrize(
    ("name", "message"), [("mnist:9.9.9", "only: 3.0.1"), ("emnist/nothing", "nothing not found")]
)
def test_unknown_versions_and_configurations_are_refused(name, message, tmp_path):
    with pytest.raises(ValueError, match=rf"name: no such configuration or version.*{message}"):
        load_dataset(name, data_dir=tmp_path)
