"""The embedded autoencoder on 8 s of stereo: seconds to encode and decode, whole and in tiles.

    python benchmarks/autoencoder.py [--out FILE]
"""

from __future__ import annotations

import statistics

import torch
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
    report({"rows": rows}, args.out)


if __name__ == "__main__":
    main()
