"""The model object, compared with the command."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from novic import (
    CheckpointError,
    EmbedderError,
    InputError,
    LabelType,
    NovicError,
    NovicModel,
    OptionError,
    Predictions,
)

from .conftest import Project

NAMES = {"guide": LabelType.GUIDE, "vocab": LabelType.VOCABULARY, "other": LabelType.OTHER}


@pytest.fixture(scope="module")
def model() -> NovicModel:
    return NovicModel()


def lines(project: Project, *arguments: object) -> list[dict[str, Any]]:
    text = project.call("infer", "--format", "jsonl", *arguments)
    return [json.loads(line) for line in text.splitlines()]


def assert_equal(output: Predictions, answers: list[dict[str, Any]]) -> None:
    """The output is what the command printed."""
    assert len(output) == len(answers)
    for row, answer in enumerate(answers):
        labels = answer["predictions"]
        assert output.preds[row] == [label["noun"] for label in labels]
        count = len(labels)
        scores = [label["score"] for label in labels]
        np.testing.assert_allclose(output.scores[row, :count], scores, rtol=1e-6)
        probs = [np.nan if label["prob"] is None else label["prob"] for label in labels]
        np.testing.assert_allclose(output.probs[row, :count], probs, rtol=1e-6)
        assert output.types[row, :count].tolist() == [NAMES[label["type"]] for label in labels]


def test_half_precision_and_devices_that_are_not_there(
    model: NovicModel, project: Project
) -> None:
    single = model.classify_images(project.pictures)
    for dtype in ("f16", "bf16"):
        half = NovicModel(dtype=dtype).classify_images(project.pictures)
        assert (half.embeds != single.embeds).any()
        assert ((half.embeds * single.embeds).sum(axis=1) > 0.999).all()
    with pytest.warns(UserWarning, match="cuda:77 is not here"):
        elsewhere = NovicModel(device="cuda:77", dtype="f32")
    assert elsewhere.classify_images(project.pictures).preds == single.preds


def test_a_first_program(project: Project) -> None:
    from novic import NOVICModel

    with NOVICModel(checkpoint="embedded") as model:
        image = model.load_image(project.pictures[0])
        output = model.classify_image(image)
    top = zip(output.preds[0][:3], output.probs[0][:3])
    text = " / ".join(f"{label} = {prob:.1%}" for label, prob in top)
    printed = project.call("infer", project.pictures[0]).strip().split(" --> ")[1]
    mine, theirs = ([label.split(" = ") for label in t.split(" / ")] for t in (text, printed))
    assert [label for label, _ in mine] == [label for label, _ in theirs]
    for (_, a), (_, b) in zip(mine, theirs):
        assert float(a[:-1]) == pytest.approx(float(b[:-1]), abs=0.051)


def test_pictures_have_the_labels_that_the_command_prints(
    project: Project, model: NovicModel
) -> None:
    output = model.classify_images(project.pictures)
    assert_equal(output, lines(project, *project.pictures))
    assert output.embeds.shape == (3, model.embed_dim) and output.embeds.dtype == np.float32
    assert output.scores.shape == output.probs.shape == output.types.shape == (3, 10)
    assert (output.logprobs == output.scores).all()


def test_a_trained_decoder_is_found_by_run_and_file(project: Project) -> None:
    checkpoint = project.output("train", "*.safetensors")
    by_file = NovicModel(checkpoint, batch_size=2).classify_images(project.pictures)
    assert_equal(by_file, lines(project, "--checkpoint", "latest", *project.pictures))


def test_every_form_of_a_picture_is_the_same_picture(
    project: Project, model: NovicModel
) -> None:
    path = project.pictures[0]
    expected = model.classify_image(path)
    with PIL.Image.open(path) as picture:
        array = np.asarray(picture.convert("RGB"))
        forms = [str(path), path.read_bytes(), bytearray(path.read_bytes()), picture, array]
        alpha = np.dstack([array, np.full(array.shape[:2], 7, np.uint8)])
        for form in [*forms, alpha, array[:, ::-1][:, ::-1]]:
            output = model.classify_image(form)
            assert output.preds == expected.preds
            assert (output.scores == expected.scores).all()
    grey = model.classify_image(np.zeros((8, 9), np.uint8))
    assert grey.preds == model.classify_image(np.zeros((8, 9, 3), np.uint8)).preds


def test_pictures_are_loaded_alone_and_in_batches(project: Project, model: NovicModel) -> None:
    names = [path.name for path in project.pictures]
    folder = project.pictures[0].parent
    images = model.load_images(names, folder)
    batches = list(model.load_image_batches(names, folder, batch_size=2))
    assert [len(batch) for batch in batches] == [2, 1]
    loaded = [image for batch in batches for image in batch]
    assert all((a == b).all() for a, b in zip(images, loaded))
    with PIL.Image.open(project.pictures[0]) as picture:
        assert (images[0] == np.asarray(picture.convert("RGB"))).all()
    output = model.classify_images(images)
    assert output.preds == model.classify_images(names, folder).preds == model(images).preds


def test_embeddings_of_any_length_are_classified(project: Project, model: NovicModel) -> None:
    output = model.classify_images(project.pictures)
    again = model.classify_embeds(output.embeds.astype(np.float64) * 3)
    assert again.preds == output.preds
    np.testing.assert_allclose(again.scores, output.scores, atol=1e-4)
    assert model.classify_embeds(output.embeds[0].tolist()).preds == output.preds[:1]
    assert (model.embed_images(project.pictures) == output.embeds).all()


def test_texts_are_classified(project: Project, model: NovicModel) -> None:
    texts = ["a photo of a fox", "a drawing of a key"]
    assert_equal(model.classify_texts(texts), lines(project, "--texts", *texts))


def test_guides_and_configurations_change(project: Project, tmp_path: Path) -> None:
    nouns = ["fox", "key", "snail", "wheel of cheese"]
    path = tmp_path / "nouns.txt"
    path.write_text("# nouns\nfox\n\n  key\nsnail\nwheel of cheese\n")
    config = "beam_k3_vnone_gn_t1_a0"
    model = NovicModel(gencfg=config, guide_targets=path)
    assert model.guide_targets == nouns and model.gencfg == config
    arguments = ["--gencfg", config, "--guide", path, *project.pictures]
    assert_equal(model.classify_images(project.pictures), lines(project, *arguments))
    model.set_guide_targets(None)
    assert model.guide_targets == model.vocabulary
    model.set_gencfg("beam_k2_vnone_gp_t2_a0.5")
    output = model.classify_image(project.pictures[0])
    assert np.isnan(output.probs).all() and np.isfinite(output.scores).all()


def test_tokens_come_when_they_are_asked_for(project: Project, model: NovicModel) -> None:
    assert model.classify_image(project.pictures[0]).tokens is None
    output = NovicModel(token_log_probs=True).classify_image(project.pictures[0])
    assert output.tokens is not None
    total = sum(token.log_prob for token in output.tokens[0][0])
    assert total == pytest.approx(output.scores[0, 0], abs=1e-4)


def test_progress_is_told_and_can_stop(project: Project) -> None:
    model = NovicModel(batch_size=1)
    told: list[tuple[int, int]] = []
    model.classify_images(project.pictures, progress=lambda done, all: told.append((done, all)))
    assert told == [(1, 3), (2, 3), (3, 3)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.classify_images(project.pictures, progress=stop)


def test_the_interpreter_goes_on_meanwhile(project: Project, model: NovicModel) -> None:
    results: list[Predictions] = []

    def work() -> None:
        results.append(model.classify_images(project.pictures * 8))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    turns = 0
    while any(thread.is_alive() for thread in threads):
        turns += 1
    for thread in threads:
        thread.join()
    # Holding the interpreter would leave a handful of turns.
    assert turns > 1000 and results[0].preds == results[1].preds


def test_a_context_counts_how_often_it_was_entered(project: Project) -> None:
    model = NovicModel()
    with model:
        with model as inner:
            assert inner is model
        first = model.classify_image(project.pictures[0])
    model.close()
    assert model.classify_image(project.pictures[0]).preds == first.preds


def test_nothing_gives_nothing(model: NovicModel) -> None:
    output = model.classify_images([])
    assert len(output) == 0 and output.scores.shape == (0, 10)
    assert output.embeds.shape == (0, model.embed_dim)


def test_errors_say_what_is_wrong(project: Project, model: NovicModel, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    missing = tmp_path / "missing.png"
    for pictures, part in [([bad], "bad.png"), ([project.pictures[0], missing], "missing.png")]:
        with pytest.raises(InputError, match=part):
            model.classify_images(pictures)
    for wrong in [b"nothing", np.zeros((2, 2, 3), np.float32), np.zeros((0, 2, 3), np.uint8), 7]:
        with pytest.raises(InputError):
            model.classify_image(wrong)
    with pytest.raises(InputError, match="decoder takes"):
        model.classify_embeds(np.ones((2, 3)))
    with pytest.raises(InputError, match="embedding 1"):
        model.classify_embeds([[1.0] * model.embed_dim, [0.0] * model.embed_dim])
    with pytest.raises(CheckpointError, match="ovod_20000101_000000"):
        NovicModel("ovod_20000101_000000")
    with pytest.raises(NovicError):
        NovicModel(bad)
    with pytest.raises(OptionError):
        NovicModel(gencfg="beam")
    with pytest.raises(OptionError):
        NovicModel(guide_targets=[])
    with pytest.raises(OptionError, match="bf16"):
        NovicModel(dtype="f8")
    with pytest.raises(EmbedderError, match="openclip"):
        NovicModel(embedder="no embedder")
    with pytest.raises(ValueError, match="batch_size"):
        NovicModel(batch_size=0)
    assert all(issubclass(error, NovicError) for error in (InputError, CheckpointError))
    for error in (InputError, CheckpointError, EmbedderError, OptionError):
        assert error.__module__ == "novic" and error.__doc__
