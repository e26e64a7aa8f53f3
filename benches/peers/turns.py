"""Work in turns: numbers of steps come on standard input, one a line; each is answered
with the wall-clock and processor seconds they took, and a number that all programs must
agree on."""

import sys
import time


def serve(name, step, processor=time.process_time):
    print(name, flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), processor()
        agreed = 0.0
        for _ in range(int(line)):
            agreed = step()
        wall, cpu = time.perf_counter() - wall, processor() - cpu
        print(f"{wall:.6f} {cpu:.6f} {agreed:.6f}", flush=True)
