"""Caches, records and tables, compared with the command."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import novic

from .conftest import TINY, Project


@pytest.fixture(scope="module")
def cache(project: Project) -> novic.EmbeddingCache:
    return novic.open_cache(project.output("convert_noun_dataset", "cache.bin"))


def test_a_cache_is_seen_where_it_lies(project: Project, cache: novic.EmbeddingCache) -> None:
    info = project.json("cache", "info", cache.path)
    assert len(cache) == info["samples"] and cache.dim == info["dim"]
    assert cache.nouns[1:] == info["nouns"] and cache.version == info["version"]
    embeds, ids, weights = cache.embeds, cache.target_ids, cache.weights
    assert isinstance(embeds, np.memmap) and not embeds.flags.writeable
    assert embeds.shape == (len(cache), cache.dim)
    assert ids.shape == weights.shape == (len(cache), cache.targets_per_sample)
    np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-4)
    assert cache.nouns[0] == "" and ids.max() < len(cache.nouns)
    tokens = cache.tokens
    assert tokens is not None
    assert tokens[0].shape == tokens[1].shape and len(tokens[0]) == len(cache.nouns)


def test_rows_of_a_cache_are_those_that_the_command_prints(
    project: Project, cache: novic.EmbeddingCache
) -> None:
    rows = cache[3:8]
    assert len(rows) == 5 and rows.target_ids is not None and rows.weights is not None
    assert (rows.embeds == cache.embeds[3:8]).all()
    assert (rows.target_ids == cache.target_ids[3:8]).all()
    assert (rows.weights == cache.weights[3:8]).all()
    assert len(cache[len(cache) :]) == 0 and len(cache[-2:]) == 2
    with pytest.raises(ValueError, match="step"):
        cache[::2]
    printed = project.json("cache", "head", cache.path, "-n", 8)
    for row, told in enumerate(printed):
        ids = [number for number in cache.target_ids[row] if number]
        assert [cache.nouns[number] for number in ids] == [t["noun"] for t in told["targets"]]
        np.testing.assert_array_equal(cache.embeds[row], np.float32(told["embedding"]))


def test_a_cache_becomes_a_table_without_copies(cache: novic.EmbeddingCache) -> None:
    before = pa.total_allocated_bytes()
    table = cache.to_arrow()
    assert pa.total_allocated_bytes() - before < 4096
    assert table.num_rows == len(cache)
    assert table.column_names == ["embed", "target_ids", "weights"]
    values = table["embed"].chunk(0).values.to_numpy()
    assert (values.reshape(cache.embeds.shape) == cache.embeds).all()


def test_what_is_no_cache_is_an_error(project: Project, tmp_path: Path) -> None:
    with pytest.raises(novic.CacheError, match="fox.png"):
        novic.open_cache(project.pictures[0])
    with pytest.raises(novic.CacheError, match="missing"):
        novic.open_cache(tmp_path / "missing.bin")


def test_records_are_what_the_command_shows(project: Project) -> None:
    listed = novic.runs("state = finished", project=project.folder)[0]
    assert novic.runs("state = failed", project=project.folder) == []
    run = novic.open_run(project.run, project.folder)
    shown = project.json("ls", "--last", "0")
    assert run.id == listed["run"] == shown[0]["run"] and run.state == "finished"
    assert novic.open_run("latest", project.folder).id == shown[-1]["run"]
    assert run.results["zero_shot"] == listed["stages"][2]["results"]
    assert run.facts["end"]["exit_code"] == 0 and run.folder.name == run.id
    assert run.config["stages"][1]["name"] == "train"
    assert run.events[0]["what"]["event"] == "header"
    assert run.outputs.is_dir()


def test_metrics_are_arrays(project: Project) -> None:
    metrics = novic.open_run(project.run, project.folder).metrics["train"]
    stored = novic.read_metrics(project.output("train", "metrics.novic"))
    sizes = [len(metrics.positions(group)) for group in range(len(metrics.groups))]
    group = int(np.argmax(sizes))
    name = next(name for name in metrics.groups[group] if name.lower().endswith("loss"))
    loss = metrics.numbers(name)
    assert loss.dtype == np.float64 and len(loss) > 0 and np.isfinite(loss).any()
    np.testing.assert_array_equal(loss, stored.numbers(name))
    # What NumPy looks at is the memory of the native part.
    assert loss.base is not None and type(loss.base).__name__ == "Array"
    told = [np.nan if value is None else value for value in metrics.values(name)]
    np.testing.assert_array_equal(loss, told)
    table = metrics.to_arrow(group)
    assert table.num_rows == len(loss)
    assert table.column_names == ["position", "time", *metrics.groups[group]]
    assert (np.diff(metrics.times(group).astype("i8")) >= 0).all()
    with pytest.raises(novic.RecordError, match="nothing"):
        metrics.numbers("nothing")


def test_tables_are_those_that_the_command_prints(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    (table,) = novic.tables(TINY)
    (printed,) = project.json("table", TINY)
    assert table.columns == [column["label"] for column in printed["columns"]]
    assert table.title == printed["title"]
    rows = [row for group in printed["groups"] for row in group["rows"]]
    assert rows and table.labels == [row["label"] for row in rows]
    for at, row in enumerate(rows):
        assert table.texts[at] == [cell["text"] for cell in row["cells"]]
        stats = [cell["stats"] for cell in row["cells"]]
        np.testing.assert_array_equal(table.counts[at], [own["n"] for own in stats])
        numbers = [own.get("value", np.nan) if own["n"] else np.nan for own in stats]
        np.testing.assert_array_equal(table.values[at], numbers)
    assert np.isfinite(table.values).any()
    arrow = table.to_arrow()
    assert arrow.num_rows == len(table.labels) and arrow.num_columns == len(table.columns) + 1
    with pytest.raises(novic.ExperimentError, match="missing.toml"):
        novic.tables("missing.toml")


def test_a_run_that_is_not_there_is_an_error(project: Project, tmp_path: Path) -> None:
    with pytest.raises(novic.RecordError, match="novic ls"):
        novic.open_run("ovod_20000101_000000", project.folder)
    with pytest.raises(novic.RecordError):
        novic.runs("top1 >", project=tmp_path)
