"""f1chexbert as a contender of `bench/labelers.py`, in a Python of its own.

It needs an older transformers than ours: `pip install f1chexbert 'transformers<4.47'` there. What
it would fetch from the hub is read from `folder` (chexbert.pth, vocab.txt); nothing else of it is
changed. Reads one line of JSON from standard input, `{"folder": ..., "threads": 2, "reports":
[...]}`. Then labels all reports for each further line, and answers it with the seconds that took,
by the wall and by the processor.
"""

import json
import sys
import time
from pathlib import Path

import torch
from f1chexbert import f1chexbert
from transformers import BertConfig, BertTokenizer


def scorer(folder):
    """F1CheXbert on the CPU, from local files."""
    tokenizer = BertTokenizer(str(Path(folder, "vocab.txt")))
    f1chexbert.CACHE_DIR = folder
    f1chexbert.AutoConfig.from_pretrained = lambda name: BertConfig()
    f1chexbert.BertTokenizer.from_pretrained = lambda name: tokenizer
    return f1chexbert.F1CheXbert(device="cpu")


def main():
    """Answers each line with the seconds it took."""
    job = json.loads(sys.stdin.readline())
    torch.set_num_threads(job["threads"])
    labeler = scorer(job["folder"])
    labeler.get_label(job["reports"][0])
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for report in job["reports"]:
            labeler.get_label(report)
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
