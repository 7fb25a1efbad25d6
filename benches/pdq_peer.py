"""How long PyPI's pdqhash takes for a hash, in milliseconds of one thread's CPU time: the peer of `cargo bench --bench pdq`.

It takes RGB only: grey is given to it as three equal channels.
"""

import statistics
import time

import numpy as np
import pdqhash

random = np.random.default_rng(1)
for name, height, width in [("1080p", 1080, 1920), ("512x512", 512, 512)]:
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    grey = np.ascontiguousarray(np.repeat(pixels[..., :1], 3, axis=2))
    kinds = [("RGB", pdqhash.compute, pixels), ("grey", pdqhash.compute, grey), ("dihedral", pdqhash.compute_dihedral, grey)]
    for kind, hash_of, picture in kinds:
        taken = []
        for _ in range(25):
            start = time.thread_time()
            hash_of(picture)
            taken.append(1000 * (time.thread_time() - start))
        print(f"{name} {kind}: median {statistics.median(taken):.2f} ms, least {min(taken):.2f} ms")
