#!/usr/bin/env python3
"""Feed every decoder with what atheris (libFuzzer) makes of the samples, guided by coverage.

    scripts/fuzz.py [--seconds 60] [decoder …]

Each decoder for so many seconds, in a process of its own; `tests/fuzz/decoders.py` has their names. The first
input that makes one raise anything but Undecodable, or run anything, is printed and ends the script.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]


def fuzz(name, seconds):
    import atheris
    from django.conf import settings

    settings.configure(SECRET_KEY="fuzz", USE_TZ=True)
    with atheris.instrument_imports(include=["django_layercache", "json"]):
        from tests.fuzz.decoders import DECODERS, decode_safely

    decoder = DECODERS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, sample in enumerate(decoder.samples):
            Path(corpus, str(number)).write_bytes(sample)
        limits = [f"-max_total_time={seconds}", "-rss_limit_mb=512", "-timeout=10", "-verbosity=0"]
        arguments = [sys.argv[0], *limits, f"-artifact_prefix={corpus}/", corpus]
        atheris.Setup(arguments, lambda data: decode_safely(decoder, data))
        atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("decoders", nargs="*")
    arguments = parser.parse_args()
    try:
        import atheris  # noqa: F401
    except ImportError:
        sys.exit("atheris is not installed, or not to be had for this Python: pip install atheris")
    if arguments.here:
        fuzz(arguments.decoders[0], arguments.seconds)
        return
    from django.conf import settings

    settings.configure(SECRET_KEY="fuzz", USE_TZ=True)
    from tests.fuzz.decoders import DECODERS

    for name in arguments.decoders or DECODERS:
        print(f"{name} ...", flush=True)
        command = [sys.executable, __file__, "--here", f"--seconds={arguments.seconds}", name]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
