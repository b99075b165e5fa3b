"""The part of a dataset's card that tells how it is read: by `datasets`, by TRL, by a trainer of a diffusion model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_LOAD = {
    "parquet": '''from datasets import Audio, load_dataset

pairs = load_dataset("FOLDER", split="{split}")  # FOLDER: this folder, or its name on the hub
pairs[0]["prompt"], pairs[0]["chosen"], pairs[0]["rejected"]
raw = pairs.cast_column("chosen", Audio(decode=False)).cast_column("rejected", Audio(decode=False))
raw[0]["chosen"]["bytes"]                        # the FLAC file instead of samples: needs no decoder''',
    "webdataset": '''import glob
import webdataset as wds

shards = sorted(glob.glob("FOLDER/data/{split}-*.tar"))
for sample in wds.WebDataset(shards, shardshuffle=False).decode():  # .json a dict, .npy arrays, .flac bytes
    sample["json"]["prompt"], sample["chosen.flac"], sample["rejected.flac"], sample["chosen.npy"], sample["rejected.npy"]''',
    "jsonl": '''import json
import soundfile

for line in open("FOLDER/data/{split}.jsonl", encoding="utf-8"):
    pair = json.loads(line)
    samples, rate_hz = soundfile.read("FOLDER/" + pair["chosen"]["audio_path"])''',
}
_PLACES = {  # what a trainer looks for -> where it is, by format
    "parquet": ("chosen_latent", "chosen_codec", "chosen_seed", "chosen_noise_seed", "chosen_noise_shape", "chosen_t_start",
                "chosen_version"),
    "webdataset": ("chosen.npy", "json: diffusion.chosen.codec", "json: chosen.generation_params.seed",
                   "json: diffusion.chosen.noise.generator_seed", "json: diffusion.chosen.noise.shape",
                   "json: diffusion.chosen.noise.t_start", "json: diffusion.chosen.version"),
    "jsonl": ("chosen.provenance.latent_path", "diffusion.chosen.codec", "chosen.generation_params.seed",
              "diffusion.chosen.noise.generator_seed", "diffusion.chosen.noise.shape", "diffusion.chosen.noise.t_start",
              "diffusion.chosen.version"),
}  # fmt: skip
_MEANT = (
    "clean latent x0 `[T, D]`, float32, of the sound that was judged; no encoding needed",
    "fingerprint of the autoencoder it belongs to",
    "the take's seed",
    "seed of the generator its initial noise is drawn from",
    "shape of that noise",
    "level its last denoising began at: 1 is pure noise, less is (1 − t)·source + t·noise",
    "fingerprint of the weights that made it (reference model)",
)
_NOISE = '''import torch

generator = torch.Generator().manual_seed(noise_seed)
noise = torch.randn(noise_shape, generator=generator)   # on the CPU, float32: the very noise the take began from
x_t = (1 - t) * latent + t * noise                      # t = 1 noise, t = 0 data; velocity: noise - latent'''


def usage(format: str, rate_hz: int | None, splits: Sequence[str]) -> Iterator[str]:
    """The sections that tell how a dataset of that format is read."""
    rate = f"at {rate_hz} Hz" if rate_hz else "at each take's own rate"
    yield f"## Reading it\n\n```python\n{_LOAD[format].replace('{split}', splits[0])}\n```\n\nSounds are 24-bit FLAC {rate}."
    fixed = "the column `pair`" if format == "parquet" else "the JSON" if format == "webdataset" else "each line"
    yield (
        f"`prompt` (the caption{'' if format == 'parquet' else ', lyrics and metadata'}), `chosen` and `rejected` are the names "
        f"TRL looks for. {fixed[0].upper()}{fixed[1:]} holds the whole pair: `prompt`, `chosen`, `rejected` in the fixed schema, "
        "`provenance` and everything else that is known beside them."
    )
    rows = [f"| {meant} | `{place}` |" for meant, place in zip(_MEANT, _PLACES[format], strict=True)]
    yield (
        "## For trainers of diffusion models\n\nThe same for `rejected`. Fields are empty for a take that no model made.\n\n"
        "| what | where |\n| --- | --- |\n" + "\n".join(rows) + f"\n\n```python\n{_NOISE}\n```\n\nWith Segue: "
        '`segue.pipeline.keys.noise(seed, "initial", 0, shape)`, where seed is `noise.seed` of the pair\'s JSON.'
    )
