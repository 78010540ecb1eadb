"""Q-Align by its authors' own code, with a small model of seeded weights: run by an interpreter with transformers 4.36.

    python original.py model CODE FOLDER              lays out a model's folder, as the hub has it
    python original.py scores CODE FOLDER FILM.npz    what the authors' scorers say of it, as JSON

CODE is a copy of github.com/Q-Future/Q-Align. Nothing of this project is imported.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image

HUB = Path("q-future", "one-align")  # where the authors' code looks for it: here, if it is there
CODE = ("configuration_mplug_owl2", "modeling_mplug_owl2", "modeling_llama2", "modeling_attn_mask_utils",
        "visual_encoder")  # fmt: skip
SENTENCES = tuple(
    sentence
    for shown in ("image", "video")
    for sentence in (
        f"USER: How would you rate the quality of this {shown}?",
        f"ASSISTANT: The quality of the {shown} is",
    )
)
WORDS = ("excellent", "good", "fair", "poor", "bad")
SPREAD = 0.15  # of the weights: wide enough that words are told apart
VISION = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
LANGUAGE = {**VISION, "hidden_size": 96, "num_hidden_layers": 4, "num_key_value_heads": 4}


def model(code: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in CODE:
        shutil.copy(code / "q_align" / "model" / f"{name}.py", folder)
    shutil.copy(code / "preprocessor_config.json", folder)
    size = tokenizer(folder)
    vision = {**VISION, "image_size": 448, "patch_size": 14}
    abstractor = {**VISION, "encoder_hidden_size": VISION["hidden_size"], "grid_size": 32}
    config = {
        "architectures": ["MPLUGOwl2LlamaForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_mplug_owl2.MPLUGOwl2Config",
            "AutoModelForCausalLM": "modeling_mplug_owl2.MPLUGOwl2LlamaForCausalLM",
        },
        "model_type": "mplug_owl2",
        "vocab_size": size,
        **LANGUAGE,
        "max_position_embeddings": 4096,
        "visual_config": {"visual_model": vision, "visual_abstractor": abstractor},
    }
    (folder / "config.json").write_text(json.dumps(config))
    weights(code, folder)


def tokenizer(folder: Path) -> int:
    """A small one of LLaMA's kind, in which each of the five words is one token; returns how many tokens it knows."""
    import sentencepiece

    text = folder / "text.txt"
    text.write_text("\n".join([*SENTENCES, *WORDS] * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "tokenizer"), vocab_size=420, model_type="bpe", byte_fallback=True,
        hard_vocab_limit=False, normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )  # fmt: skip
    for left in (text, folder / "tokenizer.vocab"):
        left.unlink()
    about = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    about |= {"add_bos_token": True, "add_eos_token": False, "legacy": True, "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).vocab_size()


def weights(code: Path, folder: Path) -> None:
    """In half precision, in several files, with pickles as the hub has them."""
    at_home(code, folder)
    from q_align.model import MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM

    torch.manual_seed(0)
    drawn = MPLUGOwl2LlamaForCausalLM(MPLUGOwl2Config.from_pretrained(folder))
    for parameter in drawn.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=SPREAD)
    drawn.half().save_pretrained(folder, max_shard_size="1MB", safe_serialization=False)


def at_home(code: Path, folder: Path) -> None:
    """The authors' code finds the model under its name on the hub, and has eager attention, as with their torch 2.0."""
    HUB.parent.mkdir(exist_ok=True)
    HUB.unlink(missing_ok=True)
    HUB.symlink_to(folder.absolute())
    transformers.modeling_utils.is_torch_sdpa_available = lambda: False
    sys.path.insert(0, str(code))


def scores(code: Path, folder: Path, film: Path) -> None:
    at_home(code, folder)
    from q_align import QAlignScorer, QAlignVideoScorer

    with np.load(film) as kept:
        frames, fps = kept["frames"], float(kept["fps"])
    seen = [Image.fromarray(frames[int(fps * second)]) for second in range(int(len(frames) / fps))]  # as its load_video
    image, video = (kind(str(HUB), device="cpu") for kind in (QAlignScorer, QAlignVideoScorer))
    single = [logits_and_score(image, [picture]) for picture in seen]
    at_once, whole = logits_and_score(image, seen), logits_and_score(video, [seen])
    told = {
        "image": {"logits": [each["logits"][0] for each in single], "scores": [each["scores"][0] for each in single]},
        "image, in one batch": at_once,
        "video": whole,
    }
    np.savez(film.with_name("pixels.npz"), pixels=np.concatenate([prepared(image, picture) for picture in seen]))
    sys.stdout.write(json.dumps(told))


def prepared(scorer: torch.nn.Module, picture: Image.Image) -> np.ndarray:
    behind = tuple(int(255 * part) for part in scorer.image_processor.image_mean)
    square = scorer.expand2square(picture, behind)
    return scorer.image_processor.preprocess([square], return_tensors="pt")["pixel_values"].half().numpy()


def logits_and_score(scorer: torch.nn.Module, shown: list) -> dict:
    kept = []
    watched = scorer.model.register_forward_hook(lambda _, given, told: kept.append(told["logits"][:, -1]))
    found = scorer(shown)
    watched.remove()
    return {"logits": kept[0][:, scorer.preferential_ids_].tolist(), "scores": found.tolist()}


if __name__ == "__main__":
    {"model": model, "scores": scores}[sys.argv[1]](*map(Path, sys.argv[2:]))
