"""The embedded autoencoder on 8 s of stereo: seconds to encode and decode, whole and in tiles. And what a frame takes in memory
while one of the released models' size (random weights) decodes it: what `pipeline/options.py` chooses tiles by.

    python benchmarks/autoencoder.py [--out FILE]
"""

from __future__ import annotations

import resource
import statistics

import torch
from diffusers import AutoencoderOobleck
from peer import arguments, report, timed
from segue.pipeline.context import Numerics
from segue.pipeline.models.pool import Pool
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.session import Counts


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    info = describe_model("segue-mini", offline=True)
    rows = {}
    for tile in (0, 25, 50, 100):
        pool = Pool(info, Numerics(threads=torch.get_num_threads(), tile_frames=tile), Counts())
        audio = 0.1 * torch.randn(1, pool.channels, 8 * pool.rate_hz, generator=torch.Generator().manual_seed(1))
        latent = pool.encode(audio)
        rows[f"tile {tile}" if tile else "whole"] = {
            "encode_s": round(statistics.median(timed(lambda p=pool, a=audio: p.encode(a)) for _ in range(args.rounds)), 3),
            "decode_s": round(statistics.median(timed(lambda p=pool, z=latent: p.decode(z)) for _ in range(args.rounds)), 3),
        }
    report({"rows": rows, "released_size_mb_a_frame": round(memory_a_frame(), 1)}, args.out)


@torch.no_grad()
def memory_a_frame() -> float:
    """MB by which the process' peak grows with every further latent frame decoded at once, float32."""
    vae = AutoencoderOobleck(
        encoder_hidden_size=128, downsampling_ratios=[2, 4, 4, 6, 10], channel_multiples=[1, 2, 4, 8, 16], decoder_channels=128,
        decoder_input_channels=64, audio_channels=2, sampling_rate=48_000,
    )
    peaks = []
    for frames in (64, 128):
        vae.decode(torch.zeros(1, 64, frames))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)  # Linux: KiB
    return (peaks[1] - peaks[0]) / 64


if __name__ == "__main__":
    main()
