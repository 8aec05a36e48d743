"""Recognition by content, alphabets checked against the model's own tokenizer, and families from outside."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

from protea_ray.encoder.attention import register
from protea_ray.errors import CheckpointError
from protea_ray.models import families
from protea_ray.models.families import Shape, recognise
from protea_ray.models.families.alphabet import LETTERS, read_alphabet
from protea_ray.models.families.base import Family, Stack
from protea_ray.models.families.t5 import relative_bias
from protea_ray.models.families.vocabulary import read_vocabulary
from protea_ray.testing.random_checkpoint import FAMILIES, build
from tests.encoder.conftest import load, proteins

NAMES = {"esm2": "esm2", "esmc": "esmc", "t5": "t5", "prostt5": "t5", "ankh": "ankh"}


def config_of(directory: Path) -> dict:
    return json.loads((directory / "config.json").read_text())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_is_recognised_by_its_content(family, checkpoint):
    config = config_of(checkpoint(family))
    assert recognise(config, checkpoint(family)).name == NAMES[family]
    assert recognise(config, checkpoint(family), NAMES[family]).name == NAMES[family]


def test_facts_and_shapes_of_the_published_models(checkpoint):
    esm2 = config_of(checkpoint("esm2")) | {
        "hidden_size": 1280, "num_hidden_layers": 33, "num_attention_heads": 20, "intermediate_size": 5120,
    }  # fmt: skip
    family = recognise(esm2, checkpoint("esm2"))
    assert family.shape(esm2) == Shape(1280, 33, 20, 64, 5120, 33)
    facts = family.facts(esm2)
    assert (facts.n_layers, facts.trained_length, facts.has_cls, facts.gpu_dtype) == (33, 1022, True, "float16")
    esmc = config_of(checkpoint("esmc"))
    facts = recognise(esmc, checkpoint("esmc")).facts(esmc)
    assert (facts.trained_length, facts.has_cls, facts.gpu_dtype) == (2046, True, "bfloat16")
    ankh = config_of(checkpoint("ankh")) | {
        "d_model": 1536,
        "num_heads": 16,
        "d_kv": 64,
        "d_ff": 3840,
        "num_layers": 48,
    }
    family = recognise(ankh, checkpoint("ankh"))
    assert family.shape(ankh) == Shape(1536, 48, 16, 64, 3840, 144, gated=True)
    assert (family.facts(ankh).trained_length, family.facts(ankh).has_cls) == (None, False)


@pytest.mark.parametrize(
    ("family", "change", "reason"),
    [
        ("esm2", {"model_type": "bert"}, "model_type is 'bert', not 'esm'"),
        ("esm2", {"position_embedding_type": "absolute"}, "positions are 'absolute', not 'rotary'"),
        ("esm2", {"is_folding_model": True}, "folding model"),
    ],
)
def test_a_checkpoint_of_no_family_is_told_what_was_found_and_what_is_supported(family, change, reason, checkpoint):
    with pytest.raises(CheckpointError) as caught:
        recognise(config_of(checkpoint(family)) | change, checkpoint(family))
    message = str(caught.value)
    assert reason in message
    assert "Supported: esm2, esmc, t5, ankh" in message
    assert "33 tokens" in message


def test_a_wanted_family_that_does_not_fit(checkpoint):
    with pytest.raises(CheckpointError, match=r"as 'ankh'.*\n.*not ankh: model_type is 'esm'"):
        recognise(config_of(checkpoint("esm2")), checkpoint("esm2"), "ankh")
    with pytest.raises(CheckpointError, match="as 'llama'"):
        recognise(config_of(checkpoint("esm2")), checkpoint("esm2"), "llama")


def test_vocabularies_decide_where_configurations_are_alike(checkpoint, tmp_path):
    t5 = config_of(checkpoint("t5"))
    with pytest.raises(CheckpointError, match=r"no tokenizer's files"):
        recognise(t5, tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(f"word{i}" for i in range(32_000)))
    with pytest.raises(CheckpointError, match="32000 tokens is not one of residues"):
        recognise(t5, tmp_path)
    (tmp_path / "vocab.txt").write_text("<cls>\n<pad>\n<eos>\n<unk>\nAAAAAA\nAAAAAC")
    with pytest.raises(CheckpointError, match="the vocabulary has no A C D E"):
        recognise(config_of(checkpoint("esm2")), tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join([*"ACDEFGHIKLMNPQRSTVWYX", "[NLU]"]))
    with pytest.raises(CheckpointError, match="Ankh 3"):
        recognise(t5, tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model", "added_tokens.json"])
def test_damaged_vocabulary_files_are_a_checkpoint_error(name, tmp_path):
    (tmp_path / name).write_text("{not what the name says")
    with pytest.raises(CheckpointError, match=f"{name}: not a readable vocabulary"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_letter_table_spells_as_the_models_own_tokenizer(family, checkpoint, reference):
    own = recognise(config_of(checkpoint(family)), checkpoint(family))
    alphabet = own.alphabet(checkpoint(family))
    for sequence in [*LETTERS, *proteins(1, 7, 200), LETTERS]:
        assert alphabet.window(alphabet.residues(sequence)).tolist() == reference(family).ids(sequence)
    assert set(np.flatnonzero(alphabet.table < 0)) >= {0, ord("*"), ord("-"), ord(" "), ord("?")}


def test_the_published_ids_of_prott5_and_ankh(checkpoint):
    sequence = "MKTAYIAKQRQISFVKSHF"
    ids = [19, 14, 11, 3, 18, 12, 3, 14, 16, 8, 16, 12, 7, 15, 6, 14, 7, 20, 15]
    for family, before in (("t5", []), ("ankh", []), ("prostt5", [149])):
        own = recognise(config_of(checkpoint(family)), checkpoint(family))
        alphabet = own.alphabet(checkpoint(family))
        assert alphabet.window(alphabet.residues(sequence)).tolist() == [*before, *ids, 1]


def test_transformers_reads_ankhs_tokenizer_wrongly_and_the_check_would_see_it(checkpoint):
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(checkpoint("ankh"))
    wrong = own(list("MKT"), is_split_into_words=True)["input_ids"]
    assert wrong == [2, 19, 2, 14, 2, 11, 1]  # <unk> before every residue, no error
    with pytest.raises(CheckpointError, match="55 residues into 111 tokens"):
        read_alphabet(lambda letters: own(list(letters), is_split_into_words=True)["input_ids"], 2, "JUZOB")


def test_a_tokenizer_without_its_letters_is_refused():
    with pytest.raises(CheckpointError, match="turns residue B into"):
        read_alphabet(lambda s: [0, *(5 if c == "A" else 6 if c == "C" else 3 for c in s), 2], 3, "J")


@pytest.mark.parametrize("alphabet", ["aa", "3di"])
def test_the_recipe_chooses_the_token_before_prostt5s_letters(alphabet, checkpoint):
    """Both alphabets against plain transformers with the prefix by hand, one protein at a time."""
    import torch
    from transformers import T5EncoderModel, T5Tokenizer

    directory = checkpoint("prostt5")
    own, model = T5Tokenizer.from_pretrained(directory), T5EncoderModel.from_pretrained(directory).eval()
    spell = str.lower if alphabet == "3di" else str.upper
    sequences = [spell(s) for s in ("DVQVADPVVVVVCVVVPHDD", "A", "DDAACKKWYTSEGHFILMNPQRV")]
    found = load(directory, {"alphabet": alphabet, "pooling": ["none"]}).embed(sequences)
    for result in found:
        prefix = "<fold2AA> " if alphabet == "3di" else "<AA2fold> "
        ids = own(prefix + " ".join(sequences[result.index]), return_tensors="pt")["input_ids"]
        assert int(ids[0, 0]) == {"3di": 148, "aa": 149}[alphabet]
        with torch.no_grad():
            expected = model(ids).last_hidden_state[0, 1:-1].numpy()
        np.testing.assert_allclose(result.residues[0], expected, atol=1e-5)


def test_letters_of_the_other_alphabet_are_no_residues(checkpoint):
    for alphabet, letters in (("3di", "DVQ"), ("aa", "dvq"), ("3di", "dxb")):
        (result,) = load(checkpoint("prostt5"), {"alphabet": alphabet}).embed([letters])
        assert (result.reason, "not residues of this model" in result.detail) == ("illegal_letter", True)


@pytest.mark.parametrize("recipe", [{}, {"max_residues": 30, "window_overlap": 10}])
def test_vectors_of_structure_letters_are_those_behind_their_own_prefix(recipe, encoder, checkpoint, reference):
    """In every window, by plain transformers; the prefix of residues moves them by far more than the tolerance."""
    from transformers import T5Tokenizer

    own, letters = T5Tokenizer.from_pretrained(checkpoint("prostt5")), "dvqvallpcddpssnvvsvvvlvvvlqdpvrnvcs"
    plain = reference("prostt5")

    def rows(prefix, start, end):
        ids = own(f"{prefix} " + " ".join(letters[start:end]))["input_ids"]
        return plain.model(input_ids=torch.tensor([ids])).last_hidden_state[0, 1:-1].detach().numpy()

    def stitched(prefix):
        return np.concatenate([rows(prefix, 0, 23)[:17], rows(prefix, 12, 35)[5:]]) if recipe else rows(prefix, 0, 35)

    (result,) = encoder("prostt5", {"pooling": ("none",), "alphabet": "3di", **recipe}).embed([letters])
    assert result.n_windows == (2 if recipe else 1)
    assert np.abs(result.residues[0] - stitched("<fold2AA>")).max() < 1e-5
    assert np.abs(result.residues[0] - stitched("<AA2fold>")).max() > 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rotary_frequencies_in_half_precision_are_refused(dtype, checkpoint, monkeypatch):
    """As where somebody casts the whole module: positions of long proteins would be off, without an error."""
    from protea_ray.models.families import loading

    loaded = loading.load_module

    def cast(*given, **options):
        return loaded(*given, **options).to(getattr(torch, dtype))

    monkeypatch.setattr(loading, "load_module", cast)
    for family in ("esm2", "esmc"):
        own = recognise(config_of(checkpoint(family)), checkpoint(family))
        register()
        with pytest.raises(CheckpointError, match=f"rotary frequencies are torch.{dtype}; they must stay float32"):
            own.load(checkpoint(family), torch.float32)


def test_the_bias_table_is_the_whole_bias(encoder):
    attention = encoder("ankh", {}).module.encoder.block[0].layer[0].SelfAttention
    full = attention.compute_bias(700, 700)[0]
    distance = np.arange(700)[None] - np.arange(700)[:, None]
    table = relative_bias(attention)
    assert table.shape == (4, 257)
    assert (table[:, np.clip(distance, -128, 128) + 128] - full).abs().max() == 0


def test_recognition_imports_neither_torch_nor_transformers(checkpoint):
    code = (
        "import json, sys; from pathlib import Path; from protea_ray.models.families import recognise\n"
        f"for name in {[str(checkpoint(f)) for f in FAMILIES]!r}:\n"
        "    d = Path(name); c = json.loads((d / 'config.json').read_text()); f = recognise(c, d)\n"
        "    f.facts(c), f.shape(c)\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


class Toy(families.esm2.Esm2):
    """A fifth family, as another package would write it: ESM-2's layers under another model_type."""

    name = "toy"

    def misfit(self, config, vocabulary):
        return None if config.get("model_type") == "toy" else "not a toy"

    def stack(self, module) -> Stack:
        stack = super().stack(module)
        return Stack(stack.begin, stack.layers[:1], stack.norm)

    def shape(self, config) -> Shape:
        return Shape(hidden=32, layers=1, heads=4, head_dim=8, ffn=128, vocabulary=33)


TOY = Toy()


@pytest.fixture
def registered(monkeypatch):
    def register(value, name="toy"):
        points = [EntryPoint(name, value, families.GROUP)]
        monkeypatch.setattr(families, "entry_points", lambda group: points if group == families.GROUP else [])

    return register


def test_a_family_from_another_package_is_one_file_and_one_line(registered, tmp_path, encoder):
    registered("tests.encoder.test_families:TOY")
    directory = build("esm2", tmp_path)
    config = config_of(directory) | {"model_type": "toy"}
    family = recognise(config, directory)
    assert isinstance(family, Family)
    assert family.name == "toy"
    assert family.facts(config).n_layers == 1
    (directory / "config.json").write_text(json.dumps(config))
    result = next(load(directory, {"normalize": False}).embed(["MKTAYI"]))
    one_layer = next(encoder("esm2", {"layers": (2,), "normalize": False}).embed(["MKTAYI"]))
    assert result.pooled["mean"].shape == one_layer.pooled["mean"].shape


def test_an_entry_point_that_is_no_family_and_one_that_takes_a_built_in_name(registered, checkpoint):
    registered("json:dumps")
    with pytest.raises(CheckpointError, match=r"entry point toy = json:dumps .* is a function"):
        recognise(config_of(checkpoint("esm2")), checkpoint("esm2"))
    registered("json:dumps", name="esm2")
    assert recognise(config_of(checkpoint("esm2")), checkpoint("esm2")) is families.esm2.FAMILY


def test_the_direction_tokens_may_stand_in_either_file(tmp_path, encoder):
    directory = build("prostt5", tmp_path)
    added = json.loads((directory / "added_tokens.json").read_text())
    (directory / "added_tokens.json").unlink()
    config = json.loads((directory / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"] = {str(i): {"content": token, "special": False} for token, i in added.items()}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    assert read_vocabulary(directory)["<AA2fold>"] == 149
    expected = next(encoder("prostt5", {}).embed(["MKTAYI"])).pooled["mean"]
    assert np.array_equal(next(load(directory, {}).embed(["MKTAYI"])).pooled["mean"], expected)


def test_the_encoder_of_a_whole_t5_is_loaded_without_its_decoder(tmp_path, checkpoint, encoder):
    from safetensors.torch import load_file, save_file
    from transformers import T5Config, T5ForConditionalGeneration

    directory = build("t5", tmp_path)
    config = config_of(directory) | {"is_encoder_decoder": True, "tie_word_embeddings": False}
    whole = T5ForConditionalGeneration(T5Config(**config))
    encoder_weights = load_file(directory / "model.safetensors")
    decoder = {k: torch.zeros_like(v) for k, v in whole.state_dict().items() if k.startswith(("decoder", "lm_head"))}
    save_file(encoder_weights | decoder, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(config | {"architectures": ["T5ForConditionalGeneration"]}))
    expected = next(encoder("t5", {}).embed(["MKTAYI"])).pooled["mean"]
    assert np.array_equal(next(load(directory, {}).embed(["MKTAYI"])).pooled["mean"], expected)


def test_an_old_esm2_file_with_position_tables_and_frequencies_in_every_layer(tmp_path, encoder):
    from safetensors.torch import load_file, save_file

    directory = build("esm2", tmp_path)
    weights = load_file(directory / "model.safetensors")
    frequencies = weights.pop("esm.rotary_embeddings.inv_freq")
    for layer in range(3):
        key = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        weights[key] = frequencies.clone()
    weights["esm.embeddings.position_embeddings.weight"] = torch.zeros(1026, 32)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    expected = next(encoder("esm2", {}).embed(["MKTAYI"])).pooled["mean"]
    assert np.array_equal(next(load(directory, {}).embed(["MKTAYI"])).pooled["mean"], expected)
